"""Memory that a file takes in its runtime: the largest resident set of a process that does nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from results.loading import load_module
from results.timing import Memory
from runners.measuring.apart import Apart
from runners.measuring.process import Conditions, threads_of

_STATUS = Path("/proc/self/status")
_RUNS = 3  # the first may take memory that it gives back, later ones keep what they need


def peak_of(
    loader: str,
    file: Path,
    profile: Conditions,
    *,
    imports: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
) -> Memory:
    """Loads a file and runs it a few times in a process of its own.

    Args:
        loader: ``module:function`` that gives a call for a path and a job, as the stopwatch takes it.
        file: file of the runtime.
        profile: threads and batch.
        imports: modules that are there before the file is loaded: a runtime that the loader imports late.
        settings: more entries of the job.

    Raises:
        ValueError: the file does not run, or this system does not tell the memory of a process; says which.
    """
    if not _STATUS.exists():
        raise ValueError("this system does not tell the memory of a process (it has no /proc/self/status)")
    job = {"threads": threads_of(profile), "batch": profile.batch, **(settings or {})}
    path = str(file.resolve())
    return Memory(**Apart(__name__).call("peak", loader=loader, file=path, job=job, imports=list(imports)))


def peak(loader: str, file: str, job: dict[str, Any], imports: Sequence[str]) -> dict[str, int]:
    """What ``peak_of`` tells, of this process; it must not have run anything before."""
    module, function = loader.split(":")
    load = getattr(load_module(module), function)
    for name in imports:
        load_module(name)
    before = _bytes("VmRSS")
    call = load(file, job)
    for _ in range(_RUNS):
        call()
    most = _bytes("VmHWM")
    return asdict(Memory(process_bytes=most, own_bytes=max(0, most - before)))


def _bytes(entry: str) -> int:
    """An entry of this process's status: ``VmRSS`` is what is resident, ``VmHWM`` the most that ever was."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{entry}:"))
    return 1024 * int(line.split()[1])
