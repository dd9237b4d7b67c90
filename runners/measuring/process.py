"""Measuring in a process of its own: its threads are pinned, and a model that crashes it harms no other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runners.measuring.lock import device_lock
from runners.measuring.machine import cores
from runners.measuring.stopwatch import Timing, merge, not_measured, processes, share
from runners.targets.profile import HardwareProfile


def measure_apart(
    command: Sequence[str],
    models: Sequence[bytes | Path],
    profile: HardwareProfile,
    *,
    budget_s: float,
    precision: float,
) -> list[Timing]:
    """Times model files side by side in other processes; where one dies, each model in some of its own.

    Args:
        command: Python's arguments; it gets the paths of a job and of its result to write.
        models: files, or their content.
        profile: threads, batch and options; its device is held meanwhile.
        budget_s: seconds for all of them.
        precision: relative half width of the interval that is good enough.

    Raises:
        OSError: the device is busy, or Python itself failed; the message has its last words.
    """
    if not models:
        return []
    with tempfile.TemporaryDirectory(prefix="quarry-") as name, device_lock(profile.device):
        folder = Path(name)
        paths = []
        for index, model in enumerate(models):
            path = model if isinstance(model, Path) else folder / f"{index}.model"
            if not isinstance(model, Path):
                path.write_bytes(model)
            paths.append(str(path.resolve()))
        job = {
            "threads": threads_of(profile),
            "batch": profile.batch,
            # The last cores: systems give their interrupts to the first.
            "cores": cores()[-profile.threads :] if profile.threads else [],
            "config": dict(profile.options),
            "device": profile.device,
            "precision": precision,
            "models": paths,
            "budget_s": budget_s,
        }
        together = _merged(command, folder, job, profile)
        if together is not None:
            return together
        each_s = budget_s / len(paths)
        alone = [
            _merged(command, folder, {**job, "models": [path], "budget_s": each_s}, profile) for path in paths
        ]
    crashed = not_measured("failed", "the runtime crashed on this model")
    return [timings[0] if timings else crashed for timings in alone]


def threads_of(profile: HardwareProfile) -> int:
    """As many as the profile says; all cores where it says 0."""
    return profile.threads or len(cores())


def _merged(
    command: Sequence[str], folder: Path, job: dict[str, Any], profile: HardwareProfile
) -> list[Timing] | None:
    """None where one of the processes died."""
    measured = []
    for _ in range(processes(job["budget_s"])):
        timings = _run(command, folder, share(job), profile)
        if timings is None:
            return None
        measured.append(timings)
    return merge(measured)


def _run(
    command: Sequence[str], folder: Path, job: dict[str, Any], profile: HardwareProfile
) -> list[Timing] | None:
    """None where the process died."""
    request, result = folder / "job.json", folder / "result.json"
    request.write_text(json.dumps(job))
    result.unlink(missing_ok=True)
    process = subprocess.run(
        [sys.executable, *command, str(request), str(result)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    if process.returncode == 0 and result.exists():
        return read_timings(result)
    if process.returncode > 0:  # Python's own error, not a crash: the same for every model
        last = process.stderr.strip().splitlines()[-1:] or ["no message"]
        raise OSError(f"measuring on {profile.name!r} failed: {last[0]}")
    return None


def read_timings(path: Path) -> list[Timing]:
    """The timings that ``stopwatch.main`` wrote."""
    entries: list[dict[str, Any]] = json.loads(path.read_text())
    return [Timing(**entry) for entry in entries]
