"""The fronts of both sides as a picture: accuracy on the test set against measured latency."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tests.benchmarks.by_hand.lines import Line
from tests.benchmarks.by_hand.table import limits, mean_accuracy, of, sides
from tests.benchmarks.drawing import Chart, axis, plain, plain_percent

COLOURS = ("#6b7280", "#b45309", "#1d4ed8", "#047857", "#7c3aed")
"""Colours of the sides in their order: by hand's are the first two."""

_STYLE = (
    "svg{font:12px sans-serif;background:#fff}text{fill:#374151}path{fill:none}"
    ".grid{stroke:#e5e7eb}.axis{stroke:#6b7280}"
    ".line{stroke-width:1.5}.whisker{stroke-width:1.2}"
)


def picture(lines: Sequence[Line]) -> str:
    """An SVG file: for each side its means over seeds, with intervals, joined over the limits.

    Raises:
        ValueError: there are no lines.
    """
    if not lines:
        raise ValueError("there are no results to draw yet")
    chart = Chart(
        "Test accuracy against measured latency, by hand and by Quarry at equal cost",
        axis("measured latency of the file, ms", [one.latency_ms for one in lines], plain, log=True),
        axis("accuracy on the test set", _shown(lines), plain_percent, most=1.0),
        width=640,
        height=400,
    )
    style = _STYLE
    for index, side in enumerate(sides(lines)):
        colour, name = COLOURS[index % len(COLOURS)], f"s{index}"
        style += f".line.{name},.whisker.{name}{{stroke:{colour}}}.fill.{name}{{fill:{colour}}}"
        _draw(chart, lines, side, name)
    drawn = str(chart.draw()).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    head, rest = drawn.split(">", 1)
    return f"{head}><style>{style}</style>{rest.removesuffix('</svg>')}{_legend(sides(lines))}</svg>\n"


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


def _draw(chart: Chart, lines: Sequence[Line], side: str, name: str) -> None:
    points = []
    for limit_ms in limits(lines):
        if found := of(lines, side, limit_ms):
            points.append((float(np.median([one.latency_ms for one in found])), mean_accuracy(found)))
    points.sort(key=lambda point: point[0])
    chart.line([x for x, _ in points], [mean.value for _, mean in points], name)
    for x, mean in points:
        low, high = max(mean.low, chart.y.low), min(mean.high, chart.y.high)
        chart.whisker(x, low, high, name)
        chart.point(x, mean.value, name, tip=f"{side}: {mean.value:.2%} at {x:.3f} ms", radius=4)


def _legend(names: Sequence[str]) -> str:
    """Names of the sides in their colours, at the lower right."""
    return "".join(
        f'<text x="618" y="{348 - 16 * (len(names) - 1 - index)}" text-anchor="end" '
        f'style="fill:{COLOURS[index % len(COLOURS)]};font-weight:bold">{name}</text>'
        for index, name in enumerate(names)
    )
