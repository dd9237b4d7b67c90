"""A measured latency, and one timing made of several. Needs numpy alone: kits for other devices carry it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)  # no slots, so that Python 3.9 on a device takes it
class Timing:
    """The latency of one model.

    Attributes:
        median_ms: median of the blocks measured while the machine was undisturbed; where several processes
            measured, the lower quartile of their medians; NaN where nothing was measured.
        low_ms: lower end of the 95 % interval of that median, the lowest of all processes'.
        high_ms: upper end, the highest.
        repeats: blocks kept.
        status: ``measured``, ``unsupported`` (the runtime refuses it) or ``failed``.
        reason: why not, in words.
    """

    median_ms: float
    low_ms: float
    high_ms: float
    repeats: int
    status: str = "measured"
    reason: str = ""


def not_measured(status: str, reason: str) -> Timing:
    """The timing of a model that did not run."""
    nan = float("nan")
    return Timing(median_ms=nan, low_ms=nan, high_ms=nan, repeats=0, status=status, reason=reason)


def merge(measured: Sequence[Sequence[Timing]]) -> list[Timing]:
    """One timing for each model from those of several processes: the lower quartile, the ends of intervals.

    Other programs only ever slow a process, and often longer than it lives; the quartile is undisturbed while
    two of five processes are. A model that did not run in one of the processes did not run.
    """
    merged = []
    for timings in zip(*measured):  # noqa: B905 - Python 3.9 has no strict
        bad = [timing for timing in timings if timing.status != "measured"]
        merged.append(
            bad[0]
            if bad
            else Timing(
                median_ms=float(np.quantile([timing.median_ms for timing in timings], 0.25)),
                low_ms=min(timing.low_ms for timing in timings),
                high_ms=max(timing.high_ms for timing in timings),
                repeats=sum(timing.repeats for timing in timings),
            )
        )
    return merged


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Memory of a process that runs one file and does nothing else.

    Attributes:
        process_bytes: most that was resident, the runtime itself included.
        own_bytes: what of it came with the file: the rise from before it was loaded.
    """

    process_bytes: int
    own_bytes: int
