"""Measuring in a process of its own: its threads are pinned, and a model that crashes it harms no other."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from results.timing import Timing, not_measured
from runners.measuring.apart import PATIENCE_S, environment, how_it_died
from runners.measuring.lock import device_lock
from runners.measuring.machine import cores
from runners.measuring.stopwatch import in_processes, read_timings

_TIMES_THE_BUDGET = 10  # a slow model takes its least rounds whatever the budget


class Conditions(Protocol):
    """What measuring has to know of a hardware profile."""

    @property
    def name(self) -> str:
        """Name in messages."""

    @property
    def threads(self) -> int:
        """Threads of the runtime; 0 takes all cores."""

    @property
    def batch(self) -> int:
        """Images at once."""


class _Died(Exception):
    """The process died of a model; says how."""


def measure_apart(
    command: Sequence[str],
    files: Sequence[Path],
    profile: Conditions,
    *,
    budget_s: float,
    half_width: float,
    device: str = "cpu",
    settings: Mapping[str, Any] | None = None,
) -> list[Timing]:
    """Times model files side by side in other processes; where one dies, each model in some of its own.

    Args:
        command: Python's arguments; it gets the paths of a job and of its result to write.
        files: files to be compared with one another.
        profile: threads and batch.
        budget_s: seconds for all of them.
        half_width: relative half width of the interval that is good enough.
        device: what is held meanwhile, ``cpu`` or ``cuda``; also in the job.
        settings: more entries of the job, such as ``config``.

    Raises:
        OSError: the device is busy, or Python itself failed; the message has its last words.
    """
    if not files:
        return []
    paths = [str(file.resolve()) for file in files]
    job = {
        "threads": threads_of(profile),
        "batch": profile.batch,
        # The last cores: systems give their interrupts to the first.
        "cores": cores()[-profile.threads :] if profile.threads else [],
        "device": device,
        "half_width": half_width,
        "models": paths,
        "budget_s": budget_s,
        **(settings or {}),
    }
    with tempfile.TemporaryDirectory(prefix="quarry-") as name, device_lock(device):

        def run(part: dict[str, Any]) -> list[Timing]:
            return _run(command, Path(name), part, profile)

        def alone(path: str) -> Timing:
            try:
                return in_processes({**job, "models": [path], "budget_s": budget_s / len(paths)}, run)[0]
            except _Died as died:
                return not_measured("failed", f"the runtime {died} on this model")

        try:
            return in_processes(job, run)
        except _Died:
            return [alone(path) for path in paths]


def threads_of(profile: Conditions) -> int:
    """Threads that the profile asks for; all cores where it says 0."""
    return profile.threads or len(cores())


def _run(command: Sequence[str], folder: Path, job: dict[str, Any], profile: Conditions) -> list[Timing]:
    request, result = folder / "job.json", folder / "result.json"
    request.write_text(json.dumps(job))
    result.unlink(missing_ok=True)
    patience_s = PATIENCE_S + _TIMES_THE_BUDGET * job["budget_s"]
    try:
        process = subprocess.run(
            [sys.executable, *command, str(request), str(result)],
            capture_output=True,
            text=True,
            check=False,
            env=environment(),
            timeout=patience_s,
        )
    except subprocess.TimeoutExpired:
        raise _Died(f"did not end within {patience_s:.0f} s") from None
    if process.returncode == 0 and result.exists():
        return read_timings(result)
    if process.returncode > 0:  # Python's own error, not a crash: the same for every model
        last = process.stderr.strip().splitlines()[-1:] or ["no message"]
        raise OSError(f"measuring on {profile.name!r} failed: {last[0]}")
    raise _Died(f"crashed ({how_it_died(process.returncode)})")
