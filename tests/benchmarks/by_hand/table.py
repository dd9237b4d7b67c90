"""What the lines say: a table for each limit, differences with intervals, and whether cost was equal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from results.numbers import count
from results.statistics import Interval, mean_interval
from tests.benchmarks.by_hand.lines import HAND, Line

_EQUAL = 0.05  # of a budget: costs further apart are pointed out


def sides(lines: Sequence[Line]) -> list[str]:
    """The sides of some lines: by hand's columns first, then Quarry's labels as they came."""
    there = list(dict.fromkeys(one.side for one in lines))
    by_hand = [one for one in HAND.values() if one in there]
    return by_hand + [one for one in there if one not in by_hand]


def limits(lines: Sequence[Line]) -> list[float]:
    """Limits of some lines, ascending."""
    return sorted({one.limit_ms for one in lines})


def of(lines: Sequence[Line], side: str, limit_ms: float) -> list[Line]:
    """The lines of a side for a limit, by seed."""
    found = [one for one in lines if (one.side, one.limit_ms) == (side, limit_ms)]
    return sorted(found, key=lambda one: one.seed)


def mean_accuracy(lines: Sequence[Line]) -> Interval:
    """Mean accuracy over seeds with its interval; of a single seed the interval is the number itself."""
    values = [one.accuracy for one in lines]
    return mean_interval(values) if len(values) > 1 else Interval(values[0], values[0], values[0])


def table(lines: Sequence[Line]) -> str:
    """A Markdown table, and below it the differences and what was not equal."""
    if not lines:
        return "there are no results yet"
    rows = [
        "| limit | side | network | test accuracy | measured latency | processor seconds | training MACs |",
        "|---|---|---|---|---|---|---|",
    ]
    for limit_ms in limits(lines):
        for side in sides(lines):
            if found := of(lines, side, limit_ms):
                rows.append(_row(limit_ms, side, found))
    return "\n".join([*rows, "", *differences(lines), *_notes(lines)])


def _row(limit_ms: float, side: str, found: Sequence[Line]) -> str:
    networks = "; ".join(dict.fromkeys(one.network for one in found))
    latencies = [one.latency_ms for one in found]
    missed = sum(one.latency_ms > limit_ms for one in found)
    macs = [one.training_macs for one in found if one.training_macs is not None]
    cells = [
        f"{limit_ms:g} ms",
        side,
        networks,
        _percent(mean_accuracy(found), len(found)),
        f"{np.median(latencies):.3f} ms" + (f" ({missed} of {len(found)} over the limit)" if missed else ""),
        f"{np.mean([one.cpu_s for one in found]):.0f} of {found[0].budget_s:.0f}",
        count(float(np.mean(macs))) if macs else "not told",
    ]
    return "| " + " | ".join(cells) + " |"


def _percent(accuracy: Interval, seeds: int) -> str:
    if seeds == 1:
        return f"{accuracy.value:.2%} (one seed)"
    return f"{accuracy.value:.2%} ({accuracy.low:.2%} to {accuracy.high:.2%}, {seeds} seeds)"


def differences(lines: Sequence[Line]) -> list[str]:
    """Quarry minus by hand in points, paired by seed, for each limit and column."""
    told = []
    for limit_ms in limits(lines):
        for ours in (side for side in sides(lines) if side not in HAND.values()):
            for theirs in (side for side in sides(lines) if side in HAND.values()):
                mine = {one.seed: one.accuracy for one in of(lines, ours, limit_ms)}
                other = {one.seed: one.accuracy for one in of(lines, theirs, limit_ms)}
                points = [100 * (mine[seed] - other[seed]) for seed in sorted(mine.keys() & other.keys())]
                if points:
                    told.append(f"- {limit_ms:g} ms: {ours} minus {theirs}: {_points(points)}")
    return told


def _points(points: Sequence[float]) -> str:
    if len(points) == 1:
        return f"{points[0]:+.2f} points (one seed)"
    found = mean_interval(points)
    return f"{found.value:+.2f} points ({found.low:+.2f} to {found.high:+.2f}, {len(points)} seeds, paired)"


def _notes(lines: Sequence[Line]) -> list[str]:
    """Where cost was not equal."""
    notes = []
    for limit_ms in limits(lines):
        for side in sides(lines):
            found = of(lines, side, limit_ms)
            share = float(np.mean([one.cpu_s / one.budget_s for one in found])) if found else 1.0
            if abs(share - 1) > _EQUAL:
                notes.append(f"- {limit_ms:g} ms: {side} spent {share:.0%} of its budget")
    return notes
