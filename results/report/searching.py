"""The progress of the searchers: hypervolume against evaluations, random search as the control."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from results.front import hypervolume_curve
from results.numbers import percent
from results.records import SearchSummary, Trial
from results.report.chart import PERCENT, PLAIN, Chart, axis
from results.report.markup import Html, Piece, absent, join, legend, paragraph, table
from results.report.series import CONTROL, called, colours
from results.report.sources import Sources


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchCurve:
    """The hypervolume of one searcher against its trials.

    Attributes:
        name: name of the searcher.
        curve: share of the box between the reference and (accuracy 1, latency 0) that is dominated after
            each trial.
        failed: number of trials without scores.
        best: accuracy of the best trial within the limit; NaN where there is none.
    """

    name: str
    curve: list[float]
    failed: int
    best: float


def search_curve(name: str, trials: list[Trial], summary: SearchSummary) -> SearchCurve:
    """The curve of one searcher, its trials in the order they ended."""
    accuracy, latency = summary.reference
    points = np.full((len(trials), 2), np.nan)
    for place, trial in enumerate(trials):
        costs, scores = trial.costs, trial.scores or {}
        predicted = costs.get("latency_ms_upper", costs.get("latency_ms", math.nan))
        if "accuracy" in scores and scores.get("latency_ms", predicted) <= summary.limit_ms:
            points[place] = -scores["accuracy"], trial.numbers["latency_ms"]
    box = (1.0 - accuracy) * latency or 1.0
    usable = points[~np.isnan(points).any(axis=1), 0]
    return SearchCurve(
        name=name,
        curve=[float(value) / box for value in hypervolume_curve(points, (-accuracy, latency))],
        failed=sum(not trial.ok for trial in trials),
        best=float(-usable.min()) if len(usable) else math.nan,
    )


def searching(run: Sources) -> Html:
    """Hypervolume against evaluations, and what each searcher reached."""
    if not any(run.trials.values()):
        return absent("The search has not run, so there are no trials to compare.")
    if run.summary is None:
        done = ", ".join(f"{name} {len(trials)}" for name, trials in sorted(run.trials.items()))
        return absent(
            f"The search is not finished, so there is no common reference yet. Trials so far: {done}."
        )
    summary = run.summary
    found = [search_curve(name, trials, summary) for name, trials in sorted(run.trials.items()) if trials]
    palette = colours(run.trials)
    if not any(way.curve[-1] for way in found):
        return join([_table(found), paragraph(_no_better_than_the_reference(summary), kind="note")])
    return join(
        [
            _chart(found, palette).draw(),
            legend(("line", palette[way.name], called(way.name)) for way in found),
            _table(found),
            paragraph(
                "Hypervolume is the share of the box between the reference (accuracy "
                f"{percent(summary.reference[0])}, {summary.reference[1]:g} ms) and a perfect network that "
                "takes no time which the trials so far dominate, with predicted latencies. ",
                _known_first(summary),
                "" if _same_budget(found) else "The searchers have not had the same number of evaluations. ",
                "One run of each is one sample: a small difference between two of them says little.",
                kind="note",
            ),
        ]
    )


def _no_better_than_the_reference(summary: SearchSummary) -> str:
    return (
        f"Half of the networks that random search scored reach {percent(summary.reference[0])} or more, and "
        "no searcher found a better one within the limit: accuracy on these images does not tell "
        "the networks of this space apart, so hypervolume says nothing. Choose the fastest, or score on more "
        "images."
    )


def _known_first(summary: SearchSummary) -> str:
    if not summary.known_first:
        return ""
    return (
        f"All but the control began with the {summary.known_first} best networks known from earlier searches "
        "of this supernet. "
    )


def _same_budget(found: list[SearchCurve]) -> bool:
    return len({len(way.curve) for way in found}) == 1


def _chart(found: list[SearchCurve], palette: dict[str, str]) -> Chart:
    longest = max(len(way.curve) for way in found)
    settled = [value for way in found for value in way.curve[min(9, len(way.curve) // 4) :]]
    chart = Chart(
        "Hypervolume against evaluations for each searcher",
        axis("evaluations", [0, longest], PLAIN, zero=True),
        axis("hypervolume", settled, PERCENT, most=1.0),
        height=340,
    )
    for way in sorted(found, key=lambda way: way.name != CONTROL):
        start = next((i for i, value in enumerate(way.curve) if value >= chart.y.low), len(way.curve))
        seen = list(enumerate(way.curve[start:], start + 1))
        rise = [(start + 1, chart.y.low)] if start and seen else []  # it comes into the frame from below
        chart.line(
            [at for at, _ in rise + seen], [value for _, value in rise + seen], palette[way.name], stairs=True
        )
    return chart


def _table(found: list[SearchCurve]) -> Html:
    control = next((way for way in found if way.name == CONTROL), None)
    rows: list[list[Piece]] = []
    for way in sorted(found, key=lambda way: -way.curve[-1]):
        reached: Piece = ""
        if control is not None and way is not control:
            after = next((i + 1 for i, v in enumerate(way.curve) if v >= control.curve[-1]), None)
            reached = f"{after}" if after else "not reached"
        rows.append(
            [
                way.name,
                f"{len(way.curve)}",
                f"{way.failed}",
                percent(way.best) if math.isfinite(way.best) else "none",
                percent(way.curve[(len(way.curve) - 1) // 2]),
                percent(way.curve[-1]),
                reached,
            ]
        )
    head = [
        "searcher",
        "evaluations",
        "failed",
        "best accuracy",
        "hypervolume halfway",
        "at the end",
        "evaluations to match the control",
    ]
    return table(head, rows)
