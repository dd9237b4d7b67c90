"""The fronts of both sides as a picture: accuracy on the test set against measured latency."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from results.report.chart import PERCENT, PLAIN, axis
from tests.benchmarks.by_hand.lines import Line
from tests.benchmarks.by_hand.table import limits, mean_accuracy, of, sides
from tests.benchmarks.drawing import Chart

COLOURS = ("#6b7280", "#b45309", "#1d4ed8", "#047857", "#7c3aed")
"""Colours of the sides in their order: by hand's are the first two."""


def picture(lines: Sequence[Line]) -> str:
    """An SVG file: for each side its means over seeds, with intervals, joined over the limits.

    Raises:
        ValueError: there are no lines.
    """
    if not lines:
        raise ValueError("there are no results to draw yet")
    names = sides(lines)
    chart = Chart(
        "Test accuracy against measured latency, by hand and by Quarry at equal cost",
        axis("measured latency of the file, ms", [one.latency_ms for one in lines], PLAIN, log=True),
        axis("accuracy on the test set", _shown(lines), PERCENT, most=1.0),
        {side: COLOURS[index % len(COLOURS)] for index, side in enumerate(names)},
        width=640,
        height=400,
    )
    for side in names:
        _draw(chart, lines, side)
    return chart.draw(legend_y=364 - 16 * len(names))


def _shown(lines: Sequence[Line]) -> list[float]:
    """Accuracies that must fit: single ones, and the intervals as far as these are within a few points."""
    values = [one.accuracy for one in lines]
    room = max(0.02, max(values) - min(values))
    ends = [
        end
        for limit_ms in limits(lines)
        for side in sides(lines)
        if (found := of(lines, side, limit_ms))
        for end in (mean_accuracy(found).low, mean_accuracy(found).high)
    ]
    return [*values, *(end for end in ends if min(values) - room <= end <= max(values) + room)]


def _draw(chart: Chart, lines: Sequence[Line], side: str) -> None:
    points = []
    for limit_ms in limits(lines):
        if found := of(lines, side, limit_ms):
            points.append((float(np.median([one.latency_ms for one in found])), mean_accuracy(found)))
    points.sort(key=lambda point: point[0])
    chart.line([x for x, _ in points], [mean.value for _, mean in points], side)
    for x, mean in points:
        chart.whisker(x, mean.low, mean.high, side)
        chart.point(x, mean.value, side, tip=f"{side}: {mean.value:.2%} at {x:.3f} ms")
