"""Line and point charts: what is drawn, as data for plotly.js, which the page carries once.

It is the bundle ``basic`` of plotly.js 4.1.1 (MIT, 1.2 MB, a quarter of the whole): charts have hover, zoom,
selection and logarithmic axes, are SVG, sharp on paper, and follow from data alone. Smaller ones draw on a
canvas, or leave some of these to code of ours.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from results.report.markup import Html, tag

PLAIN = "~r"
"""Form of ticks that are numbers, as d3 writes it."""
PERCENT = ".4~%"
"""Form of ticks that are shares."""

Node = bool | int | float | str | list["Node"] | dict[str, "Node"]
"""A piece of a figure, as JSON holds it. A colour such as ``@c0`` is looked up in the page's style."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One axis.

    Attributes:
        label: quantity that is shown, with its unit.
        low: value at the start.
        high: value at the end, more than ``low``.
        ticks: form of the ticks' values, as d3 writes it.
        log: whether the axis is logarithmic; ``low`` is positive then.
    """

    label: str
    low: float
    high: float
    ticks: str
    log: bool = False

    def node(self) -> Node:
        """The axis of a figure."""
        ends = (self.low, self.high)
        shown: list[Node] = [math.log10(end) if self.log else end for end in ends]
        return {
            "title": {"text": escape(self.label, quote=False)},
            "type": "log" if self.log else "linear",
            "range": shown,
            "tickformat": self.ticks,
            "dtick": "D2" if self.log and self.high / self.low < 100 else "",
            "gridcolor": "@grid",
            "linecolor": "@hair",
            "color": "@soft",
            "zeroline": False,
            "showline": True,
            "automargin": True,
        }


def axis(
    label: str,
    values: Iterable[float],
    ticks: str,
    *,
    zero: bool = False,
    log: bool = False,
    most: float = math.inf,
) -> Axis:
    """An axis that holds some values with a little room at its ends.

    Args:
        label: quantity that is shown, with its unit.
        values: values that must fit; those that are not finite are passed over.
        ticks: form of the ticks' values.
        zero: whether the axis begins at zero.
        log: whether the axis is logarithmic.
        most: largest value there can be (1 for a fraction); the axis ends there.
    """
    finite = [value for value in values if math.isfinite(value) and (value > 0 or not log)] or [0.1, 1.0]
    low, high = min(finite), max(finite)
    if low == high == 0:
        return Axis(label=label, low=0.0, high=min(1.0, most), ticks=ticks)
    if log:
        room = max((high / low) ** 0.06, 1.03)
        return Axis(label=label, low=low / room, high=high * room, ticks=ticks, log=True)
    room = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    low, high = (min(0.0, low) if zero else low - room), high + room
    if high > most >= max(finite):
        high = most + 0.01 * (most - low)  # a mark at the very end is not cut
    return Axis(label=label, low=low, high=high, ticks=ticks)


class Chart:
    """A chart that is drawn into, back to front.

    Args:
        title: description for a reader who cannot see the chart.
        x: horizontal axis.
        y: vertical axis.
        height: height of the drawing in pixels; it is as wide as its place.
    """

    def __init__(self, title: str, x: Axis, y: Axis, *, height: int = 320) -> None:
        self.title, self.x, self.y, self.height = title, x, y, height
        self._traces: list[dict[str, Node]] = []
        self._points: dict[tuple[str, float, str], dict[str, list[Node]]] = {}

    def line(self, xs: Sequence[float], ys: Sequence[float], series: str, *, stairs: bool = False) -> None:
        """A line through points; ``stairs`` holds each value until the next point."""
        line: dict[str, Node] = {"color": _colour(series), "width": 2, "shape": "hv" if stairs else "linear"}
        self._add(xs, ys, mode="lines", line=line)

    def band(self, xs: Sequence[float], lows: Sequence[float], highs: Sequence[float], series: str) -> None:
        """The area between two lines."""
        there, back = list(zip(xs, lows, strict=True)), list(zip(xs, highs, strict=True))[::-1]
        around = [*there, *back]
        self._add(
            [x for x, _ in around],
            [y for _, y in around],
            mode="lines",
            fill="toself",
            fillcolor=_colour(series),
            line={"width": 0},
            opacity=0.16,
        )

    def point(
        self, x: float, y: float, series: str, *, tip: str = "", radius: float = 3, symbol: str = "circle"
    ) -> None:
        """A point; ``tip`` is shown where the pointer rests on it."""
        key = (series, radius, symbol)
        if key not in self._points:
            found: dict[str, list[Node]] = {"x": [], "y": [], "tips": []}
            self._points[key] = found
            self._traces.append(_markers(series, radius, symbol, found))
        for name, value in (("x", x), ("y", y), ("tips", escape(tip, quote=False))):
            self._points[key][name].append(value)

    def whisker(self, x: float, low: float, high: float, series: str) -> None:
        """A vertical interval."""
        self._add(
            [x, x], [low, high], mode="lines", line={"color": _colour(series), "width": 1.5}, opacity=0.6
        )

    def across(self, x: float, low: float, high: float, series: str) -> None:
        """A horizontal interval at the height ``x``."""
        self._add(
            [low, high], [x, x], mode="lines", line={"color": _colour(series), "width": 1.5}, opacity=0.6
        )

    def limit(self, x: float, words: str) -> None:
        """A vertical line at a limit, with words beside it; the area beyond it is shaded."""
        low, high, end = self.y.low, self.y.high, self.x.high
        if end > x:
            self._add(
                [x, end, end, x],
                [low, low, high, high],
                mode="lines",
                fill="toself",
                fillcolor="@no",
                line={"width": 0},
                opacity=0.06,
            )
        self._add([x, x], [low, high], mode="lines", line={"color": "@no", "width": 1.4, "dash": "dash"})
        self._words(x, low + 0.04 * (high - low), words, "middle right")

    def note(self, x: float, y: float, words: str) -> None:
        """Words to the left of a point and below it."""
        self._words(x, y, words, "bottom left")

    def figure(self) -> dict[str, Node]:
        """The data and layout that plotly.js draws."""
        layout: dict[str, Node] = {
            "xaxis": self.x.node(),
            "yaxis": self.y.node(),
            "height": self.height,
            "margin": {"l": 64, "r": 14, "t": 30, "b": 48},
            "showlegend": False,
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "@soft", "activecolor": "@accent"},
            "hovermode": "closest",
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
        }
        return {"data": list(self._traces), "layout": layout}

    def draw(self) -> Html:
        """The place of the finished chart, with what is drawn there.

        Raises:
            ValueError: a number is not finite.
        """
        figure = json.dumps(self.figure(), allow_nan=False)
        style = f"height:{self.height}px"
        return tag("div", class_="plot", role="img", aria_label=self.title, style=style, data_figure=figure)

    def _add(self, xs: Sequence[float], ys: Sequence[float], **rest: Node) -> None:
        self._traces.append({"type": "scatter", "x": list(xs), "y": list(ys), "hoverinfo": "skip", **rest})

    def _words(self, x: float, y: float, words: str, place: str) -> None:
        font: dict[str, Node] = {"color": "@ink", "size": 12}
        self._add([x], [y], mode="text", text=[escape(words, quote=False)], textposition=place, textfont=font)


def _markers(series: str, radius: float, symbol: str, found: dict[str, list[Node]]) -> dict[str, Node]:
    edge: dict[str, Node] = {"color": "@ground", "width": 0 if "faint" in series else 1}
    return {
        "type": "scatter",
        "mode": "markers",
        "x": found["x"],
        "y": found["y"],
        "hovertext": found["tips"],
        "hoverinfo": "text",
        "marker": {"color": _colour(series), "size": 2 * radius, "symbol": symbol, "line": edge},
        "opacity": 0.5 if "faint" in series else 1,
    }


def _colour(series: str) -> str:
    """The colour of a series: its last word, as the style calls it."""
    return f"@{series.rpartition(' ')[2]}"
