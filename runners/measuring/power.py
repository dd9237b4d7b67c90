"""What a CPU draws, from the energy counters of Linux (RAPL) where they can be read."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")


def watts_during(
    work: Callable[[], object], *, root: Path = POWERCAP, clock: Callable[[], float] = time.monotonic
) -> float | None:
    """Mean power of all processor packages while ``work`` runs; None where no counter can be read.

    It is the power of the whole package: what idles and what other programs do is in it.

    Args:
        work: seconds long; it runs only where there is a counter, which may count in milliseconds.
        root: folder in which the system keeps its counters; tests give their own.
        clock: seconds.
    """
    before = _counters(root)
    if not before:
        return None
    began = clock()
    work()
    seconds, after = clock() - began, _counters(root)
    if before.keys() != after.keys() or seconds <= 0:
        return None
    microjoules = 0
    for package, (start, turn) in before.items():
        used = after[package][0] - start
        microjoules += used if used >= 0 else used + turn  # it starts anew at zero
    return microjoules / 1e6 / seconds


def _counters(root: Path) -> dict[str, tuple[int, int]]:
    """Microjoules so far, and where the counter turns over, by package; nothing where one is not readable."""
    try:
        return {
            folder.name: (
                int((folder / "energy_uj").read_text()),
                int((folder / "max_energy_range_uj").read_text()),
            )
            for folder in sorted(root.glob("intel-rapl:*"))
            if folder.name.count(":") == 1  # intel-rapl:0:0 is a part of intel-rapl:0
        }
    except (OSError, ValueError):  # most systems let only root read them
        return {}
