"""What the lines of the benchmark say: a Markdown table and a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from results.report.chart import PERCENT, PLAIN, axis
from results.statistics import mean_interval
from tests.benchmarks.blocks.parts import BASE, CHANNEL_MIXER, GATE, MIXER, SCALES, Part, nearest, widths
from tests.benchmarks.drawing import Chart

Lines = Sequence[Mapping[str, Any]]

APART = 1.25  # latency over the budget, or under it, up to which networks are compared
NAMED = 14  # points of the picture that have their name beside them
COLOURS = {MIXER: "#1d4ed8", CHANNEL_MIXER: "#b45309", GATE: "#047857"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A part as it was measured.

    Attributes:
        part: what it is.
        latencies_ms: by scale.
        problem: why there are none.
        scale: that of equal latency; None where no width came near.
        accuracies: of its trainings at that scale, one a seed.
    """

    part: Part
    latencies_ms: dict[float, float]
    problem: str
    scale: float | None
    accuracies: tuple[float, ...]


def latencies(lines: Lines, part: Part) -> dict[float, float]:
    """Measured ms by scale."""
    return {
        line["scale"]: line["latency_ms"]
        for line in lines
        if line["what"] == "latency" and is_of(line, part) and not line["problem"]
    }


def is_of(line: Mapping[str, Any], part: Part) -> bool:
    """Whether a line says something of a part."""
    return Part(line["kind"], line["part"]) == part


def budget(lines: Lines) -> float:
    """The common budget: ms of the base at the middle size.

    Raises:
        ValueError: it was not measured.
    """
    found = latencies(lines, Part(MIXER, BASE))
    if SCALES[1] not in found:
        raise ValueError(f"{BASE} was not measured at its middle size yet; run the benchmark first")
    return found[SCALES[1]]


def equal_scale(lines: Lines, part: Part, budget_ms: float) -> float | None:
    """The measured scale nearest to the budget; None where that is too far away."""
    measured = latencies(lines, part)
    if not measured:
        return None
    scale = nearest(measured, budget_ms)
    return scale if 1 / APART <= measured[scale] / budget_ms <= APART else None


def rows(lines: Lines, found: Sequence[Part]) -> list[Row]:
    """The parts that were measured: by kind, the most accurate first, then the fastest."""
    budget_ms, made = budget(lines), []
    for part in found:
        own = [line for line in lines if is_of(line, part)]
        scale = equal_scale(lines, part, budget_ms)
        accuracies = {
            line["seed"]: line["accuracy"]
            for line in own
            if line["what"] == "accuracy" and line["scale"] == scale
        }
        made.append(
            Row(
                part=part,
                latencies_ms=latencies(lines, part),
                problem=next((line["problem"] for line in own if line.get("problem")), ""),
                scale=scale,
                accuracies=tuple(accuracies.values()),
            )
        )
    kinds = (MIXER, CHANNEL_MIXER, GATE)
    return sorted(made, key=lambda row: (kinds.index(row.part.kind), -_mean(row), _middle(row)))


def _mean(row: Row) -> float:
    return sum(row.accuracies) / len(row.accuracies) if row.accuracies else 0.0


def _middle(row: Row) -> float:
    return row.latencies_ms.get(SCALES[1], float("inf"))


def table(lines: Lines, found: Sequence[Part]) -> str:
    """A Markdown table; accuracies of several seeds with Student's 95 % interval."""
    sizes = ["-".join(map(str, widths(scale))) for scale in SCALES]
    head = ["part", *(f"{size}, ms" for size in sizes), "widths at equal latency", "ms", "accuracy"]
    text = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows(lines, found):
        cells = [f"{row.latencies_ms[scale]:.3f}" if scale in row.latencies_ms else "-" for scale in SCALES]
        equal = ["no width near", "-", "-"] if row.scale is None else _equal(row, row.scale)
        name = f"`{row.part.name}`, {row.part.kind}"
        problem = [f"{row.problem.splitlines()[0]}", "-", "-"] if row.problem else equal
        text.append(f"| {' | '.join([name, *cells, *problem])} |")
    return "\n".join(text)


def _equal(row: Row, scale: float) -> list[str]:
    told = "not trained"
    if len(row.accuracies) == 1:
        told = f"{row.accuracies[0]:.1%}"
    elif row.accuracies:
        mean = mean_interval(row.accuracies)
        told = f"{mean.value:.1%} ({mean.low:.1%} to {mean.high:.1%})"
    return ["-".join(map(str, widths(scale))), f"{row.latencies_ms[scale]:.3f}", told]


def picture(lines: Lines, found: Sequence[Part]) -> str:
    """An SVG file: accuracy at equal latency over the latency at the middle size.

    Raises:
        ValueError: nothing was trained.
    """
    shown = [row for row in rows(lines, found) if row.accuracies and SCALES[1] in row.latencies_ms]
    if not shown:
        raise ValueError("no accuracies to draw yet")
    size = "-".join(map(str, widths(SCALES[1])))
    chart = Chart(
        "Accuracy at equal latency against latency at equal width, each part in the same backbone",
        axis(f"latency at widths {size}, ms", [_middle(row) for row in shown], PLAIN, log=True),
        axis(f"accuracy at {budget(lines):.3f} ms", [_mean(row) for row in shown], PERCENT, most=1.0),
        COLOURS,
        width=760,
        height=440,
    )
    best = sorted(shown, key=_mean, reverse=True)[:NAMED]
    for row in shown:
        x, y, kind = _middle(row), _mean(row), row.part.kind
        if len(row.accuracies) > 1:
            mean = mean_interval(row.accuracies)
            chart.whisker(x, mean.low, mean.high, kind)
        chart.point(x, y, kind, tip=f"{row.part.name}: {y:.1%}, {x:.3f} ms")
        if row in best:
            chart.note(x, y, row.part.name)
    return chart.draw(legend_y=28)
