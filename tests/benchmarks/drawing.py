"""Line and point charts as static SVG, for the pictures of docs/: they need no script."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from results.report.markup import Html, html

LEFT, RIGHT, TOP, BOTTOM = 68, 14, 12, 42  # margins around the plot, in units of the drawing


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One axis.

    Attributes:
        label: quantity that is shown, with its unit.
        low: value at the start.
        high: value at the end, more than ``low``.
        words: function that writes the value of a tick.
        log: whether the axis is logarithmic; ``low`` is positive then.
    """

    label: str
    low: float
    high: float
    words: Callable[[float], str]
    log: bool = False

    def share(self, value: float) -> float:
        """Place of a value between the ends, 0 to 1."""
        low, high = self.low, self.high
        if self.log:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return (value - low) / (high - low)

    def ticks(self) -> list[float]:
        """Round values between the ends, four to ten."""
        if self.log and self.high / self.low > 6:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            values = [step * 10.0**power for power in powers for step in (1, 2, 5)]
            values = [value for value in values if self.low <= value <= self.high]
            if len(values) > 3:
                return values if len(values) <= 9 else [v for v in values if f"{v:e}".startswith("1")]
        step = _round_step((self.high - self.low) / 4)
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in (5, 2, 1) if step * power <= rough * 1.001)


def plain(value: float) -> str:
    """A tick as short as it can be written: 0.05, 0.1, 12."""
    return f"{value:.6g}"


def plain_percent(value: float) -> str:
    """The tick of a share: 97.5 %."""
    return f"{100 * value:.6g}\u00a0%"


def axis(
    label: str,
    values: Iterable[float],
    words: Callable[[float], str],
    *,
    zero: bool = False,
    log: bool = False,
    most: float = math.inf,
) -> Axis:
    """An axis that holds some values with a little room at its ends.

    Args:
        label: quantity that is shown, with its unit.
        values: values that must fit; those that are not finite are passed over.
        words: function that writes the value of a tick.
        zero: whether the axis begins at zero.
        log: whether the axis is logarithmic.
        most: largest value there can be (1 for a fraction); the axis ends there.
    """
    finite = [value for value in values if math.isfinite(value) and (value > 0 or not log)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    if low == high == 0:
        return Axis(label=label, low=0.0, high=min(1.0, most), words=words)
    if log:
        room = max((high / low) ** 0.06, 1.03)
        return Axis(label=label, low=low / room, high=high * room, words=words, log=True)
    room = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    low, high = (min(0.0, low) if zero else low - room), high + room
    if high > most >= max(finite):
        high = most + 0.01 * (most - low)  # a mark at the very end is not cut
    return Axis(label=label, low=low, high=high, words=words)


class Chart:
    """A chart that is drawn into, back to front.

    Args:
        title: description for a reader who cannot see the chart.
        x: horizontal axis.
        y: vertical axis.
        width: width of the drawing; text has its natural size where the drawing is shown as wide.
        height: height of the drawing.
    """

    def __init__(self, title: str, x: Axis, y: Axis, *, width: int = 460, height: int = 300) -> None:
        self.title, self.x, self.y, self.width, self.height = title, x, y, width, height
        self._marks: list[str] = []

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Place of a point in the drawing, (across, down)."""
        across = LEFT + self.x.share(x) * (self.width - LEFT - RIGHT)
        return round(across, 1), round(self.height - BOTTOM - self.y.share(y) * self._tall, 1)

    @property
    def _tall(self) -> float:
        return self.height - TOP - BOTTOM

    def line(self, xs: Sequence[float], ys: Sequence[float], series: str, *, stairs: bool = False) -> None:
        """A line through points; ``stairs`` holds each value until the next point."""
        places = [self.at(x, y) for x, y in zip(xs, ys, strict=True)]
        if not places:
            return
        path = f"M{places[0][0]} {places[0][1]}"
        path += "".join(f"H{x}V{y}" if stairs else f"L{x} {y}" for x, y in places[1:])
        self._marks.append(f'<path class="line {html(series)}" d="{path}"/>')

    def band(self, xs: Sequence[float], lows: Sequence[float], highs: Sequence[float], series: str) -> None:
        """The area between two lines."""
        there = [self.at(x, y) for x, y in zip(xs, lows, strict=True)]
        back = [self.at(x, y) for x, y in zip(xs, highs, strict=True)][::-1]
        path = "L".join(f"{x} {y}" for x, y in there + back)
        self._marks.append(f'<path class="band {html(series)}" d="M{path}Z"/>')

    def point(
        self, x: float, y: float, series: str, *, tip: str = "", radius: float = 3, ring: bool = False
    ) -> None:
        """A point; ``tip`` is shown where the pointer rests on it."""
        across, down = self.at(x, y)
        title = f"<title>{html(tip)}</title>" if tip else ""
        kind = "ring" if ring else "fill"
        self._marks.append(
            f'<circle class="{kind} {html(series)}" cx="{across}" cy="{down}" r="{radius}">{title}</circle>'
        )

    def whisker(self, x: float, low: float, high: float, series: str) -> None:
        """A vertical interval."""
        (across, bottom), (_, top) = self.at(x, low), self.at(x, high)
        self._marks.append(f'<path class="whisker {html(series)}" d="M{across} {bottom}V{top}"/>')

    def across(self, x: float, low: float, high: float, series: str) -> None:
        """A horizontal interval at the height ``x``."""
        (left, down), (right, _) = self.at(low, x), self.at(high, x)
        self._marks.append(f'<path class="whisker {html(series)}" d="M{left} {down}H{right}"/>')

    def limit(self, x: float, words: str) -> None:
        """A vertical line at a limit, with words beside it; the area beyond it is shaded."""
        across, _ = self.at(x, self.y.low)
        rest = self.width - RIGHT - across
        if rest > 0:
            self._marks.append(
                f'<rect class="beyond" x="{across}" y="{TOP}" width="{rest:.1f}" height="{self._tall}"/>'
            )
        left = rest < 7 * len(words)
        anchor, shift = ("end", -5) if left else ("start", 5)
        self._marks.append(
            f'<path class="limit" d="M{across} {TOP}V{self.height - BOTTOM}"/>'
            f'<text class="note" x="{across + shift}" y="{self.height - BOTTOM - 8}" '
            f'text-anchor="{anchor}">{html(words)}</text>'
        )

    def note(self, x: float, y: float, words: str) -> None:
        """Words to the left of a point and below it."""
        across, down = self.at(x, y)
        self._marks.append(
            f'<text class="note" x="{across - 9}" y="{down + 16}" text-anchor="end">{html(words)}</text>'
        )

    def draw(self) -> Html:
        """The finished chart."""
        name = html(self.title)
        return Html(
            f'<svg class="chart" viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{name}" '
            f'style="max-width:{self.width}px">{self._frame()}{"".join(self._marks)}</svg>'
        )

    def _frame(self) -> str:
        bottom, right = self.height - BOTTOM, self.width - RIGHT
        parts = []
        for tick in self.x.ticks():
            across, _ = self.at(tick, self.y.low)
            parts.append(f'<path class="grid" d="M{across} {TOP}V{bottom}"/>')
            parts.append(
                f'<text x="{across}" y="{bottom + 16}" text-anchor="middle">{html(self.x.words(tick))}</text>'
            )
        for tick in self.y.ticks():
            _, down = self.at(self.x.low, tick)
            parts.append(f'<path class="grid" d="M{LEFT} {down}H{right}"/>')
            parts.append(
                f'<text x="{LEFT - 7}" y="{down + 4}" text-anchor="end">{html(self.y.words(tick))}</text>'
            )
        middle = (TOP + bottom) / 2
        parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{right}"/>')
        parts.append(
            f'<text class="label" x="{(LEFT + right) / 2}" y="{self.height - 6}" text-anchor="middle">'
            f"{html(self.x.label)}</text>"
            f'<text class="label" transform="translate(11 {middle}) rotate(-90)" text-anchor="middle">'
            f"{html(self.y.label)}</text>"
        )
        return "".join(parts)
