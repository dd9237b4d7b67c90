"""The target, and the models of latency and accuracy on networks they have not seen."""

from __future__ import annotations

import numpy as np

from results.numbers import milliseconds, percent
from results.records import LatencyCheck, SearchSummary, TargetRecord
from results.report.chart import PLAIN, Chart, axis
from results.report.markup import Html, Piece, absent, facts, join, legend, paragraph, table, tag
from results.report.sources import Sources


def latency(run: Sources) -> Html:
    """The target, the check of the latency table on whole networks, and how well accuracy was predicted."""
    return join([_target(run.target), _checks(run), _accuracy(run.summary)])


def _target(target: TargetRecord | None) -> Html:
    """The runtime and machine, what they can hold, and what they cannot run."""
    if target is None:
        return join([])
    forms = " and ".join(target.forms or (target.precision,))
    limits = (f"{name} at most {value:,g}" for name, value in target.limits.items())
    items = [
        ("profile", f"{target.profile}: {target.summary}" if target.summary else target.profile),
        ("runtime", f"{target.runtime} {target.runtime_version}, {forms}"),
        ("machine", target.machine),
        ("limits of the profile", "; ".join(limits) or "none"),
        ("mixers left out of the space", ", ".join(target.left_out) or "none"),
    ]
    if target.watts:
        items.append(("power, for energy_mj", f"{target.watts:.3g} W"))
    items += [(f"{kind} cannot run", reason) for kind, reason in target.cannot_run.items()]
    parts = [facts(items)]
    if target.computed:
        words = "Every latency of this run is computed from these constants; nothing was measured."
        parts.append(paragraph(words, kind="alarm"))
    return join(parts)


def _checks(run: Sources) -> Html:
    """The check of each form, under its name where there are several."""
    if run.computed:
        return join([])  # it would compare the model with itself
    if run.alone:
        return paragraph(
            f"{len(run.scouted)} files were measured one by one, so no latency is a prediction: those of the "
            "networks that were trained, and of many that were not."
        )
    if not run.checks:
        return absent("Nothing has been measured on the target, so there is no latency model to check.")
    several = len(run.checks) > 1
    parts = []
    for form, check in run.checks.items():
        parts += [*([tag("h3", f"Networks in {form}")] if several else []), _check(check)]
    last = list(run.checks.values())[-1]
    return join([*parts, *([_explanation(last)] if last.measured_ms else [])])


def _check(check: LatencyCheck) -> Html:
    if not check.measured_ms:
        return absent("The check of the latency model holds no measured networks.")
    drawing = tag(
        "div",
        _chart(check).draw(),
        legend(
            [
                ("dot", "c0", "a network the model has not seen, with its prediction interval"),
                ("band", "c0", "within 5 % and 10 %"),
            ]
        ),
    )
    return tag("div", drawing, _facts(check), class_="pair")


def _chart(check: LatencyCheck) -> Chart:
    predicted, measured, lows, highs = check.predicted_ms, check.measured_ms, check.low_ms, check.high_ms
    everything = [*predicted, *measured, *lows, *highs]
    log = min(everything) > 0
    chart = Chart(
        "Predicted against measured latency of networks the model has not seen",
        axis("measured, ms", everything, PLAIN, log=log),
        axis("predicted, ms", everything, PLAIN, log=log),
        height=380,
    )
    low, high = chart.x.low, chart.x.high
    steps = (np.geomspace if log else np.linspace)(low, high, 41).tolist()
    for share in (0.10, 0.05):  # what is predicted within a share of what was measured, cut at the frame
        below, above = ([min(max(x * (1 + way * share), low), high) for x in steps] for way in (-1, 1))
        chart.band(steps, below, above, "c0")
    chart.line([low, high], [low, high], "soft")
    for x, bottom, top in zip(measured, lows, highs, strict=True):
        chart.whisker(x, max(bottom, low), min(top, high), "c0")
    for x, y in zip(measured, predicted, strict=True):
        tip = f"predicted {milliseconds(y)}, measured {milliseconds(x)}: {100 * (y / x - 1):+.1f} %"
        chart.point(x, y, "c0", tip=tip, radius=4)
    return chart


def _facts(check: LatencyCheck) -> Html:
    def share(value: float | None, digits: int = 0) -> str:
        return "not known" if value is None else percent(value, digits)

    confidence = share(check.confidence)
    rank = "not known" if check.spearman is None else f"{check.spearman:.3f}"
    return facts(
        [
            ("networks checked", str(check.networks)),
            ("mean error", share(check.mape, 1)),
            ("noise of the machine", share(check.noise_floor, 1)),
            ("within 5 %", share(check.within_5_percent)),
            ("a perfect model: within 5 %", share(check.ceiling_within_5_percent)),
            ("within 10 %", share(check.within_10_percent)),
            ("rank correlation (Spearman)", rank),
            (f"inside the {confidence} interval", share(check.coverage)),
            (f"under the {confidence} upper bound", share(check.upper_coverage)),
        ]
    )


def _accuracy(summary: SearchSummary | None) -> Html:
    """The predictors of accuracy that searchers went by, on networks left out of their fit."""
    if summary is None or not summary.predictors:
        return join([])
    rows: list[list[Piece]] = [
        [
            one.searcher,
            str(one.networks),
            f"{100 * one.mean_error:.1f} points",
            f"{100 * one.interval:.1f} points",
            f"{one.tau:.2f}",
        ]
        for one in summary.predictors
    ]
    words = paragraph(
        "Some searchers predict the accuracy of networks from those that they have scored, and score what "
        "promises most. Each network here was left out of the fit that predicted it. A mean error as large "
        "as the differences on the front says that the predictor does not tell neighbours apart.",
        kind="note",
    )
    head = ["accuracy predicted by", "networks", "mean error", "nine of ten within", "rank correlation (tau)"]
    return join([tag("h3", "Accuracy"), table(head, rows), words])


def _explanation(check: LatencyCheck) -> Html:
    words = (
        "The networks were measured once, so the noise of the machine is not known. "
        if check.noise_floor is None
        else f"The machine itself repeats a measurement to {percent(check.noise_floor)} on average: no model "
        "can do better, and smaller differences mean nothing. "
    )
    return paragraph(
        "The model adds up the measured latencies of a network's layers and corrects the sum on a few whole "
        "networks. The networks here took no part in either. ",
        words,
        "Coverage is a share of few networks and so only a rough figure.",
        kind="note",
    )
