"""Stage 2: measure the device."""

from __future__ import annotations

from results.files import write_json
from runners.stages.job import Job


def run_profile(job: Job) -> None:
    """Builds the latency table of the device; writes ``profile/table.parquet`` and ``profile/check.json``."""
    target = job.target.identity()
    job.console.say(
        f"measuring {len(job.space.layers)} layers and "
        f"{job.recipe.profile.fit_networks + job.recipe.profile.check_networks} whole networks on "
        f"{job.target.profile.name}: {target.runtime} {target.runtime_version}, {target.threads} thread(s)"
    )
    with job.console.progress("measuring") as bar:
        profiled = job.profiled(lambda done, total, _: bar.update(done, total))
    write_json(job.path / "profile" / "check.json", profiled.check.to_json())
    job.console.say(profiled.check.summary())
