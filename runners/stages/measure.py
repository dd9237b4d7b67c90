"""Stage 2: measure the device."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from nas.costs.layers.probes import layer_kind
from nas.costs.table.table import LatencyTable
from results.files import write_atomic, write_json
from results.records import COMPUTED, TargetRecord
from runners.measuring.machine import BUSY_CORES, busy_cores
from runners.measuring.power import watts_during
from runners.run.job import Job


def run_profile(job: Job) -> None:
    """Builds the latency table of the device.

    Writes ``profile/table.parquet``, ``profile/check.json`` and ``profile/device.json``.
    """
    target, plan = job.target.identity(), job.profile_plan
    computed = target.runtime == COMPUTED
    count = _find_layers(job)
    if job.imported is not None:
        job.console.say(f"fitting the table that was measured on {target.machine}; nothing is measured here")
    elif computed:
        constants = f"the constants of {job.profile.name} ({target.machine})"
        job.console.say(f"computing latencies from {constants}; nothing is measured")
    else:
        job.console.say(
            f"measuring {count} layers and "
            f"{plan.fit_networks + plan.check_networks} whole networks on {job.profile.name}: "
            f"{target.runtime} {target.runtime_version}, {target.threads} thread(s), {job.precision}"
        )
        _warn_if_busy(job)
    with job.console.progress("computing" if computed else "measuring") as bar:
        profiled = job.profiled(lambda done, total, _: bar.update(done, total))
    cannot_run = _cannot_run(profiled.table)
    for kind, reason in cannot_run.items():
        job.console.say(f"{kind} cannot run there and is not searched: {reason}")
    write_json(job.path / "profile" / "check.json", profiled.check.to_json())
    write_json(job.path / "profile" / "device.json", _target_record(job, cannot_run).to_json())
    if not computed:
        job.console.say(profiled.check.summary())


def _here(job: Job) -> bool:
    """Whether it is this machine that is measured."""
    local = job.profile.backend in ("onnxruntime", "torch", "executorch")
    return local and job.imported is None and not job.recipe.measure.ray_address


def _warn_if_busy(job: Job) -> None:
    busy = busy_cores() if _here(job) else 0.0
    if busy >= BUSY_CORES:
        job.console.warn(
            f"other programs keep {busy:.1f} cores busy; what is measured now will be too slow and less "
            f"certain. Stop, let them end, then go on: quarry profile --out {job.path}"
        )


def _find_layers(job: Job) -> int:
    """How many distinct layers the space has; those of a space that only builds take a while to find."""
    if job.space.slots:
        return len(job.layers()[0].keys)
    job.console.say("running networks of the space to find their layers")
    with job.console.progress("finding layers") as bar:
        count = len(job.layers(bar.update)[0].keys)
    job.console.say(f"{count} distinct layers found")
    return count


def take_table(out: Path, source: Path) -> None:
    """Takes a table measured elsewhere, a kit's folder or CSV, into a run in place of measuring here.

    The table is fitted and checked; what was profiled, searched and exported before is put aside.

    Raises:
        ValueError: the run has no trained supernet yet, or the table is not of its space.
    """
    from runners.measuring.commands import import_table
    from runners.run.sequence import opened

    with opened(out, None) as job:
        job.run.require("profile")
        with TemporaryDirectory() as folder:  # a table that is refused leaves the run as it was
            taken = Path(folder) / "table.parquet"
            table = import_table(source, taken, space=job.space, say=lambda _: None)
            content = taken.read_bytes()
        job.console.say(f"{len(table.rows)} rows of {table.header.profile} on {table.header.machine}")
        job.run.put_aside("profile")
        write_atomic(job.imported_path, content)
        with job.run.stage("profile"):
            run_profile(job)


def _cannot_run(table: LatencyTable) -> dict[str, str]:
    """Kinds of layers of which some did not run, each with one reason and how many there are."""
    layers = table.of("layer")
    found: dict[str, str] = {}
    for kind, group in layers.groupby(layers.index.map(layer_kind)):
        failed = group[group.status != "measured"]
        if len(failed):
            found[str(kind)] = f"{failed.reason.iloc[0]} ({len(failed)} of {len(group)} layers)"
    return found


def _watts(job: Job) -> float | None:
    """What this machine draws while it runs the largest network; None where nobody counts."""
    if not _here(job) or job.profile.device != "cpu":
        return None
    largest = job.space.largest()
    model = job.target.export(job.space.build(largest).eval(), job.space.input_shape(largest), job.precision)
    watts = watts_during(lambda: job.target.measure([model], budget_s=3.0))
    if watts is not None:
        job.console.say(f"the processor draws {watts:.1f} W meanwhile, other programs included")
    return watts


def _target_record(job: Job, cannot_run: dict[str, str]) -> TargetRecord:
    identity = job.target.identity()
    return TargetRecord(
        profile=job.profile.name,
        summary=job.profile.summary,
        runtime=identity.runtime,
        runtime_version=identity.runtime_version,
        threads=identity.threads,
        machine=identity.machine,
        precision=job.precision,
        limits=job.profile.limits.model_dump(exclude_none=True),
        left_out=job.mixers_left_out,
        cannot_run=cannot_run,
        watts=job.profile.machine.watts or _watts(job),
        computed=identity.runtime == COMPUTED,
    )
