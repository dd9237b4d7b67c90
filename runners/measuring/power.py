"""What a CPU draws, from the energy counters of Linux (RAPL) where they can be read."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")


def may_count(root: Path = POWERCAP) -> bool:
    """Whether there are counters here that this process may read."""
    return bool(_counters(root))


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
    return _joules(before, after) / seconds


class EnergyMeter:
    """The energy of all processor packages from now on, read often enough that no counter turns over twice.

    Args:
        root: folder in which the system keeps its counters.
        every_s: seconds between readings; a counter turns over after some 40 minutes at 100 W.
    """

    def __init__(self, *, root: Path = POWERCAP, every_s: float = 300.0) -> None:
        self._root, self._every_s, self._joules = root, every_s, 0.0
        self._before = _counters(root)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        if self._before:
            self._thread.start()

    def stop(self) -> float | None:
        """Joules so far; None where no counter can be read."""
        if not self._before:
            return None
        self._stopped.set()
        self._thread.join()
        self._read()
        return round(self._joules, 1)

    def _watch(self) -> None:
        while not self._stopped.wait(self._every_s):
            self._read()

    def _read(self) -> None:
        after = _counters(self._root)
        if self._before.keys() == after.keys():
            self._joules += _joules(self._before, after)
            self._before = after


def _joules(before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]) -> float:
    microjoules = 0
    for package, (start, turn) in before.items():
        used = after[package][0] - start
        microjoules += used if used >= 0 else used + turn  # it starts anew at zero
    return microjoules / 1e6


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
