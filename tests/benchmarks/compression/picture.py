"""The fronts of both sides as a picture: test accuracy against how many times as fast a file is."""

from __future__ import annotations

from collections.abc import Sequence

from results.report.chart import PERCENT, PLAIN, axis
from tests.benchmarks.compression.results import GIVEN, QUARRY, Judged
from tests.benchmarks.drawing import Chart

COLOURS = ("#1d4ed8", "#047857", "#7c3aed", "#b45309")
"""Colours of Quarry's files, by network; those of the plain way are lighter."""
_LIGHTER = ("#93c5fd", "#6ee7b7", "#c4b5fd", "#fdba74")


def picture(lines: Sequence[Judged]) -> str:
    """An SVG file: for each network a line for each side, from the network as it is on.

    Raises:
        ValueError: there are no lines.
    """
    if not lines:
        raise ValueError("there are no results to draw yet")
    names = list(dict.fromkeys(one.network for one in lines))
    given = {one.network: one for one in lines if one.side == GIVEN}
    sides = list(dict.fromkeys(one.side for one in lines if one.side != GIVEN))
    series = {
        f"{name}, {side}": (COLOURS if side == QUARRY else _LIGHTER)[at % len(COLOURS)]
        for at, name in enumerate(names)
        for side in sides
    }
    chart = Chart(
        "Test accuracy of compressed files against how many times as fast they are",
        axis(
            "times as fast as the network as it is", [_faster(one, given) for one in lines], PLAIN, log=True
        ),
        axis("accuracy on the test set", [one.test for one in lines], PERCENT, most=1.0),
        series,
        width=640,
        height=420,
    )
    for name in names:
        for side in sides:
            found = [one for one in lines if one.network == name and one.side in (GIVEN, side)]
            found.sort(key=lambda one: _faster(one, given))
            places = [_faster(one, given) for one in found]
            chart.line(places, [one.test for one in found], f"{name}, {side}")
            for x, one in zip(places, found, strict=True):
                tip = f"{name}, {one.side}, {one.precision}: {one.test:.2%} at {one.latency_ms:.4f} ms"
                chart.point(x, one.test, f"{name}, {side}", tip=tip)
    return chart.draw(legend_y=384 - 16 * len(series))


def _faster(line: Judged, given: dict[str, Judged]) -> float:
    return given[line.network].latency_ms / line.latency_ms
