"""The front: accuracy against latency, with every trial behind it and random search beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from results.front import non_dominated
from results.numbers import count, milliseconds, percent, significant
from results.records import Card, FrontEntry, SearchSummary, Trial
from results.report.chart import PERCENT, PLAIN, Chart, axis
from results.report.markup import Html, Piece, absent, badge, join, legend, paragraph, table, tag
from results.report.series import CONTROL, called, colours
from results.report.sources import Sources

_SQUASHES = 4.0  # latency of the largest over the middle one, from which the axis is logarithmic


@dataclass(frozen=True, slots=True)
class Dot:
    """A trial as the front shows it: accuracy with inherited weights, predicted latency."""

    searcher: str
    latency_ms: float
    accuracy: float


def dots(trials: dict[str, list[Trial]]) -> list[Dot]:
    """The trials that scored; those of random search first, so that others are drawn over them."""
    found = []
    for searcher in sorted(trials, key=lambda name: (name != CONTROL, name)):
        for trial in trials[searcher]:
            latency, accuracy = trial.numbers.get("latency_ms"), trial.numbers.get("accuracy")
            if trial.ok and latency is not None and accuracy is not None:
                found.append(Dot(searcher, latency, accuracy))
    return found


def tradeoff(run: Sources) -> Html:
    """The front as a chart and as a table."""
    trials = dots(run.trials)
    if run.summary is None and not trials:
        return absent("The search has not run, so there is no front.")
    palette = colours(run.trials)
    chosen = {card.name for card in run.cards} | {step.network for step in run.steps}
    floor, hidden = _floor(trials, run.summary, run.cards)
    visible = [dot for dot in trials if dot.accuracy >= floor]
    parts = [
        _chart(run, visible, palette, chosen).draw(),
        _legend(run.summary, trials, palette, run.how),
    ]
    if hidden:
        parts.append(paragraph(f"{hidden} trials below {percent(floor)} are outside the frame.", kind="note"))
    if run.summary is None:
        parts.append(
            absent("The front has not been measured on the target yet; latencies here are predictions.")
        )
    else:
        parts.append(_table(run.summary, chosen, run.how))
    return join(parts)


def _floor(trials: list[Dot], summary: SearchSummary | None, cards: list[Card]) -> tuple[float, int]:
    """The least accuracy in the frame, and how many trials lie below: a few bad ones must not flatten it."""
    if len(trials) < 10:
        return -math.inf, 0
    ordered = sorted(dot.accuracy for dot in trials)
    floor = ordered[len(ordered) // 10]
    if summary is not None:
        floor = min([floor, *(entry.accuracy for entry in summary.entries)])
    floor = min([floor, *(card.accuracy.validation for card in cards)])
    return floor, sum(accuracy < floor for accuracy in ordered)


def _chart(run: Sources, trials: list[Dot], palette: dict[str, str], chosen: set[str]) -> Chart:
    summary, how = run.summary, run.how
    measured = list(summary.entries) if summary else []
    latencies = list(_latencies(trials, measured, summary, run.cards))
    log = squashed(latencies)
    chart = Chart(
        f"Accuracy on validation data against latency: all trials and the {how} front",
        axis("latency, ms (logarithmic)" if log else "latency, ms", latencies, PLAIN, zero=not log, log=log),
        axis(
            "accuracy on validation data",
            [
                *(dot.accuracy for dot in trials),
                *(entry.accuracy for entry in measured),
                *(card.accuracy.validation for card in run.cards),
            ],
            PERCENT,
            most=1.0,
        ),
        height=440,
    )
    if summary:
        chart.limit(summary.limit_ms, f"limit {milliseconds(summary.limit_ms)}")
    for dot in trials:
        tip = f"{called(dot.searcher)}: {percent(dot.accuracy)}, predicted {milliseconds(dot.latency_ms)}"
        chart.point(dot.latency_ms, dot.accuracy, f"faint {palette[dot.searcher]}", tip=tip, radius=2.6)
    if summary:
        _front(chart, summary, chosen, how)
    for card in run.cards:
        _delivered(chart, card)
    return chart


def _delivered(chart: Chart, card: Card) -> None:
    """A file that is handed over, as measured at the end."""
    latency, accuracy = card.latency, card.accuracy
    tip = (
        f"{card.name}, the file handed over ({card.precision}): {percent(accuracy.validation)} on validation "
        f"data, {percent(accuracy.exported_test)} on test data, {latency.how} "
        f"{milliseconds(latency.measured_ms)}"
    )
    chart.across(accuracy.validation, latency.low_ms, latency.high_ms, "delivered")
    chart.point(latency.measured_ms, accuracy.validation, "delivered", tip=tip, radius=6, symbol="diamond")


def squashed(latencies: list[float]) -> bool:
    """Whether a few of the latencies are so much larger that a linear axis would leave the rest no room."""
    positive = sorted(value for value in latencies if value > 0 and math.isfinite(value))
    return len(positive) > 1 and positive[-1] > _SQUASHES * positive[len(positive) // 2]


def _latencies(
    trials: list[Dot], measured: list[FrontEntry], summary: SearchSummary | None, cards: list[Card]
) -> Iterable[float]:
    yield from (dot.latency_ms for dot in trials)
    for entry in measured:
        yield from (entry.low_ms, entry.high_ms)
    for card in cards:
        yield from (card.latency.low_ms, card.latency.high_ms)
    if summary:
        yield summary.limit_ms


def _front(chart: Chart, summary: SearchSummary, chosen: set[str], how: str) -> None:
    front = sorted(summary.front, key=lambda entry: entry.measured_ms)
    # Measured again, a network that was predicted to be on the front may be dominated by another.
    points = np.array([(entry.measured_ms, -entry.accuracy) for entry in front]).reshape(-1, 2)
    steps = [front[i] for i in np.flatnonzero(non_dominated(points))]
    chart.line([e.measured_ms for e in steps], [e.accuracy for e in steps], "front", stairs=True)
    for entry in (*front, *summary.entries[len(front) :]):
        series = "largest" if entry is summary.largest else "front"
        chart.across(entry.accuracy, entry.low_ms, entry.high_ms, series)
        tip = (
            f"{entry.name}{_finder(entry, ', found by ')}: {percent(entry.accuracy)}, {how} "
            f"{milliseconds(entry.measured_ms)} ({significant(entry.low_ms)} to "
            f"{significant(entry.high_ms)}), predicted {milliseconds(entry.predicted_ms)}"
        )
        picked = entry.name in chosen and series == "front"
        chart.point(entry.measured_ms, entry.accuracy, series, tip=tip, radius=5.5 if picked else 4)
        if picked:
            chart.point(entry.measured_ms, entry.accuracy, "front", radius=9, symbol="circle-open")
    if summary.largest is not None:
        chart.note(summary.largest.measured_ms, summary.largest.accuracy, summary.largest.name)


def _held_back(summary: SearchSummary) -> str:
    """The accuracy on images that were held back, and what it says of the other one."""
    lost = [e.accuracy - e.held_back_accuracy for e in summary.front if e.held_back_accuracy is not None]
    largest = summary.largest
    if not lost or largest is None or largest.held_back_accuracy is None:
        return ""
    mean, others = sum(lost) / len(lost), largest.accuracy - largest.held_back_accuracy
    beyond = round(100 * (mean - others), 1)
    luck = (
        f"the {beyond:.1f} points between them are the luck of being chosen"
        if beyond > 0
        else "nothing of the front was the luck of being chosen"
    )
    return (
        f"The search scored on {summary.scored_images:,} images; the second accuracy is on "
        f"{summary.held_back_images:,} that no searcher saw. There the front is {_lower(mean)} on average, "
        f"and the {largest.name} network, which nobody chose, {_lower(others)}: {luck}. "
    )


def _lower(lost: float) -> str:
    """A loss of accuracy in points; a negative one is a gain."""
    return f"{abs(100 * lost):.1f} points {'lower' if lost > 0 else 'higher'}"


def _conditions(summary: SearchSummary) -> tuple[str, ...]:
    """What accuracy and latency of the table hold for."""
    if summary.largest is None:
        return ("Accuracy is on validation data after the final training, before compression. ",)
    return (
        "Accuracy is on validation data with the supernet's weights, before fine-tuning. ",
        _held_back(summary),
        "A network was proposed only where the upper bound of its predicted latency, at "
        f"{percent(summary.confidence, 0)} confidence, is within the limit. ",
    )


def _finder(entry: FrontEntry, before: str = "") -> str:
    """Name of the searcher that found a network; nobody had to find the largest."""
    return f"{before}{entry.searcher}" if entry.searcher and entry.searcher != entry.name else ""


def _legend(summary: SearchSummary | None, trials: list[Dot], palette: dict[str, str], how: str) -> Html:
    names = sorted({dot.searcher for dot in trials}, key=lambda name: (name == CONTROL, name))
    entries = [("dot", f"{palette[name]} faint", called(name)) for name in names]
    if summary:
        words = f"front, {how} {'from' if how == 'computed' else 'on'} the exported file"
        entries.append(("dot", "front", words))
        entries.append(("ring", "front", "taken on to compression"))
        entries.append(("diamond", "delivered", "files that are handed over, after compression"))
        if summary.largest is not None:
            entries.append(("dot", "largest", f"the {summary.largest.name} network of the space"))
    return legend(entries)


def _table(summary: SearchSummary, chosen: set[str], how: str) -> Html:
    head = [
        "network",
        "found by",
        "accuracy",
        "held back",
        how,
        "interval",
        "predicted",
        "at most",
        "MACs",
        "parameters",
        "limit",
    ]
    ordered = sorted(summary.front, key=lambda entry: entry.measured_ms)
    rows: list[list[Piece]] = [
        [
            tag("strong", entry.name) if entry.name in chosen else entry.name,
            _finder(entry),
            percent(entry.accuracy),
            "" if entry.held_back_accuracy is None else percent(entry.held_back_accuracy),
            milliseconds(entry.measured_ms),
            f"{significant(entry.low_ms)}\u2013{significant(entry.high_ms)}",
            significant(entry.predicted_ms),
            significant(entry.upper_ms),
            count(entry.macs),
            count(entry.params),
            "" if entry is summary.largest else badge(good=entry.meets_limit),
        ]
        for entry in (*ordered, *summary.entries[len(ordered) :])
    ]
    return join(
        [
            table(head, rows, words=2),
            paragraph(
                *_conditions(summary),
                f"The limit is judged by what was {how}.",
                kind="note",
            ),
        ]
    )
