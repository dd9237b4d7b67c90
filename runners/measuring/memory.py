"""Memory that a file takes in its runtime: the largest resident set of a process that does nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from results.loading import load_module
from results.timing import Memory
from runners.measuring.apart import PATIENCE_S, environment, how_it_died
from runners.measuring.process import Conditions, threads_of
from runners.measuring.stopwatch import words_of

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
    job = {
        "threads": threads_of(profile),
        "batch": profile.batch,
        "imports": list(imports),
        **(settings or {}),
    }
    with tempfile.TemporaryDirectory(prefix="quarry-") as name:
        request, result = Path(name) / "job.json", Path(name) / "result.json"
        request.write_text(json.dumps(job))
        command = [sys.executable, "-m", "runners.measuring.memory", loader, str(file.resolve())]
        try:
            process = subprocess.run(
                [*command, str(request), str(result)],
                capture_output=True,
                check=False,
                env=environment(),
                timeout=PATIENCE_S,
            )
        except subprocess.TimeoutExpired:
            raise ValueError(f"the runtime did not end within {PATIENCE_S:.0f} s") from None
        if process.returncode < 0:
            raise ValueError(f"the runtime crashed: {how_it_died(process.returncode)}")
        if process.returncode:
            last = process.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
            raise ValueError(last[0])
        found = json.loads(result.read_text())
    if "error" in found:
        raise ValueError(found["error"])
    return Memory(**found)


def main(loader: str, file: str, request: str, result: str) -> None:
    """Loads and runs a file, and writes what memory that took."""
    job = json.loads(Path(request).read_text())
    module, function = loader.split(":")
    load = getattr(load_module(module), function)
    for name in job["imports"]:
        load_module(name)
    before = _bytes("VmRSS")
    try:
        call = load(file, job)
        for _ in range(_RUNS):
            call()
        peak = _bytes("VmHWM")
        found: dict[str, Any] = asdict(Memory(process_bytes=peak, own_bytes=max(0, peak - before)))
    except Exception as error:  # whatever a runtime raises
        found = {"error": words_of(error)}
    Path(result).write_text(json.dumps(found))


def _bytes(entry: str) -> int:
    """An entry of this process's status: ``VmRSS`` is what is resident, ``VmHWM`` the most that ever was."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{entry}:"))
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    main(*sys.argv[1:])
