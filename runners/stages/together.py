"""Latencies that are compared are measured together, and set beside what was known before.

Two measurements of one network an hour apart may differ by more than their intervals say: a ratio of one to
the other tells of the machine, not of the networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from compress.target import Target
from results.records import FrontEntry
from results.timing import Timing
from runners.console import Console

APART = 1.1
"""Times by which two medians of one network may differ: runs of a quiet machine vary by a few percent."""
SECONDS_EACH = 1.5


def disagree(timing: Timing, before: FrontEntry) -> bool:
    """Whether two measurements of one network differ beyond their intervals and beyond what runs vary by."""
    ratio = timing.median_ms / before.measured_ms
    overlap = timing.low_ms <= before.high_ms and before.low_ms <= timing.high_ms
    return not overlap and max(ratio, 1 / ratio) > APART


def measured_together(
    target: Target, files: Sequence[Path], before: FrontEntry | None, console: Console
) -> tuple[list[Timing], float | None]:
    """Latencies of files that are compared, measured side by side.

    Args:
        target: measures.
        files: files to compare; the last is that of ``before``, where there is one.
        before: what was measured of that network earlier, in the same number format.
        console: console of the run; a disagreement that stays is said.

    Returns:
        A timing for each file, all of one measurement; and the earlier latency in ms where it disagrees with
        that, after a second measurement too.
    """
    budget_s = SECONDS_EACH * len(files)
    timings = target.measure(files, budget_s=budget_s)
    if before is None or timings[-1].status != "measured" or not disagree(timings[-1], before):
        return timings, None
    again = target.measure(files, budget_s=budget_s)
    runs = all(one.status == "measured" for one in again)
    if runs and (not disagree(again[-1], before) or again[-1].median_ms < timings[-1].median_ms):
        timings = again  # the one that agrees, or else that of the quieter machine
    if not disagree(timings[-1], before):
        return timings, None
    console.warn(
        f"the {before.name} network takes {timings[-1].median_ms:.4g} ms now, measured twice, and took "
        f"{before.measured_ms:.4g} ms when it was measured for the search: the device was busy at one of "
        f"these times. Speed-ups compare what is measured now, side by side"
    )
    return timings, before.measured_ms
