"""Charts as SVG files, for the pictures of docs/; unlike those of the report they need no script."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from results.report.chart import PERCENT, Axis

LEFT, RIGHT, TOP, BOTTOM = 68, 14, 12, 42  # margins around the plot, in units of the drawing
_STYLE = (
    "svg{font:12px sans-serif;background:#fff}text{fill:#374151}.note{font-size:10px}path{fill:none}"
    ".grid{stroke:#e5e7eb}.axis{stroke:#6b7280}.line{stroke-width:1.5}.whisker{stroke-width:1.2}"
)


def share(axis: Axis, value: float) -> float:
    """Place of a value between the ends of an axis, 0 to 1."""
    low, high = axis.low, axis.high
    if axis.log:
        value, low, high = math.log(value), math.log(low), math.log(high)
    return (value - low) / (high - low)


def ticks(axis: Axis) -> list[float]:
    """Round values between the ends of an axis, three to eleven."""
    if axis.log and axis.high / axis.low > 6:
        powers = range(math.floor(math.log10(axis.low)), math.ceil(math.log10(axis.high)) + 1)
        values = [step * 10.0**power for power in powers for step in (1, 2, 5)]
        values = [value for value in values if axis.low <= value <= axis.high]
        if len(values) > 3:
            return values if len(values) <= 9 else [v for v in values if f"{v:e}".startswith("1")]
    step = _round_step((axis.high - axis.low) / 4)
    first = math.ceil(axis.low / step - 1e-9)
    return [i * step for i in range(first, math.floor(axis.high / step + 1e-9) + 1)]


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in (5, 2, 1) if step * power <= rough * 1.001)


def _words(axis: Axis, tick: float) -> str:
    """A tick as short as it can be written: 0.05, 12, 97.5 %."""
    return f"{100 * tick:.6g}\u00a0%" if axis.ticks == PERCENT else f"{tick:.6g}"


class Chart:
    """A chart that is drawn into, back to front.

    Args:
        title: description for a reader who cannot see the chart.
        x: horizontal axis.
        y: vertical axis.
        colours: colour of each series, by its name.
        width: width of the drawing.
        height: height of the drawing.
    """

    def __init__(
        self, title: str, x: Axis, y: Axis, colours: Mapping[str, str], *, width: int, height: int
    ) -> None:
        self.title, self.x, self.y, self.width, self.height = title, x, y, width, height
        self._colours = dict(colours)
        self._classes = {name: f"s{index}" for index, name in enumerate(colours)}
        self._marks: list[str] = []

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Place of a point in the drawing, (across, down)."""
        across = LEFT + share(self.x, x) * (self.width - LEFT - RIGHT)
        down = self.height - BOTTOM - share(self.y, y) * (self.height - TOP - BOTTOM)
        return round(across, 1), round(down, 1)

    def line(self, xs: Sequence[float], ys: Sequence[float], series: str) -> None:
        """A line through points."""
        path = "L".join(f"{across} {down}" for across, down in map(self.at, xs, ys))
        self._marks.append(f'<path class="line {self._classes[series]}" d="M{path}"/>')

    def point(self, x: float, y: float, series: str, *, tip: str) -> None:
        """A point; ``tip`` is shown where the pointer rests on it."""
        across, down = self.at(x, y)
        self._marks.append(
            f'<circle class="fill {self._classes[series]}" cx="{across}" cy="{down}" r="4">'
            f"<title>{escape(tip)}</title></circle>"
        )

    def whisker(self, x: float, low: float, high: float, series: str) -> None:
        """A vertical interval, as far as it is within the frame."""
        (across, bottom), (_, top) = self.at(x, max(low, self.y.low)), self.at(x, min(high, self.y.high))
        self._marks.append(f'<path class="whisker {self._classes[series]}" d="M{across} {bottom}V{top}"/>')

    def note(self, x: float, y: float, words: str) -> None:
        """Words to the left of a point and below it."""
        across, down = self.at(x, y)
        self._marks.append(
            f'<text class="note" x="{across - 9}" y="{down + 16}" text-anchor="end">{escape(words)}</text>'
        )

    def draw(self, *, legend_y: int) -> str:
        """The file; names of the series stand at the right, the first at a height."""
        style = _STYLE + "".join(
            f".line.{name},.whisker.{name}{{stroke:{colour}}}.fill.{name}{{fill:{colour}}}"
            for name, colour in zip(self._classes.values(), self._colours.values(), strict=True)
        )
        legend = "".join(
            f'<text x="{self.width - 22}" y="{legend_y + 16 * index}" text-anchor="end" '
            f'style="fill:{colour};font-weight:bold">{escape(name)}</text>'
            for index, (name, colour) in enumerate(self._colours.items())
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {self.width} {self.height}" '
            f'role="img" aria-label="{escape(self.title)}" style="max-width:{self.width}px">'
            f"<style>{style}</style>{self._frame()}{''.join(self._marks)}{legend}</svg>\n"
        )

    def _frame(self) -> str:
        bottom, right = self.height - BOTTOM, self.width - RIGHT
        parts = []
        for tick in ticks(self.x):
            across, _ = self.at(tick, self.y.low)
            parts.append(f'<path class="grid" d="M{across} {TOP}V{bottom}"/>')
            parts.append(
                f'<text x="{across}" y="{bottom + 16}" text-anchor="middle">{_words(self.x, tick)}</text>'
            )
        for tick in ticks(self.y):
            _, down = self.at(self.x.low, tick)
            parts.append(f'<path class="grid" d="M{LEFT} {down}H{right}"/>')
            parts.append(
                f'<text x="{LEFT - 7}" y="{down + 4}" text-anchor="end">{_words(self.y, tick)}</text>'
            )
        middle = (TOP + bottom) / 2
        parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{right}"/>')
        parts.append(
            f'<text class="label" x="{(LEFT + right) / 2}" y="{self.height - 6}" text-anchor="middle">'
            f"{escape(self.x.label)}</text>"
            f'<text class="label" transform="translate(11 {middle}) rotate(-90)" text-anchor="middle">'
            f"{escape(self.y.label)}</text>"
        )
        return "".join(parts)
