"""The compression of each network: every step before and after, kept or undone, and why."""

from __future__ import annotations

import math
from collections.abc import Callable

from results.numbers import count, duration, milliseconds, percent, points, sign, significant, size
from results.records import StepRecord
from results.report.markup import Html, Piece, absent, badge, join, paragraph, table, tag
from results.report.sources import Sources


def compression(run: Sources) -> Html:
    """One table for each network."""
    if not run.steps:
        return absent("No network has been compressed yet.")
    parts = []
    for network in dict.fromkeys(step.network for step in run.steps):
        steps = [step for step in run.steps if step.network == network]
        parts += [tag("h3", network), _path(steps), table(_HEAD, [_row(step) for step in steps], words=2)]
        parts += [_why(step) for step in steps if step.why]
    parts.append(
        paragraph(
            "A step for speed is kept only where its exported file is measured faster than the one before "
            "it, in turns and beyond the noise, and the accuracy lost on validation data stays within the "
            "recipe's tolerance; a step for accuracy only where there is more of it. The numbers of an "
            "undone step are those it would have led to.",
            kind="note",
        )
    )
    return join(parts)


_HEAD: list[Piece] = ["step", "verdict", "accuracy", "latency", "size", "MACs", "parameters"]


def _row(step: StepRecord) -> list[Piece]:
    about = [step.candidate.replace(step.step, ""), duration(step.seconds)]
    return [
        join([tag("strong", step.step), tag("small", "; ".join(part for part in about if part))]),
        join(
            [
                badge(good=step.kept, words=("kept", "undone")),
                tag("small", step.reason, class_="reason"),
            ]
        ),
        _change(step.accuracy_before, step.accuracy_after, percent, lambda old, new: points(new - old)),
        _change(step.latency_ms_before, step.latency_ms_after, milliseconds),
        _change(step.size_bytes_before, step.size_bytes_after, size),
        _change(step.macs_before, step.macs_after, count),
        _change(step.params_before, step.params_after, count),
    ]


def _why(step: StepRecord) -> Html:
    """The operators that take the time of a file that was meant to be faster; unfolded on paper."""
    summary = tag("summary", f"Where the time goes after {step.step}")
    return tag(
        "details",
        summary,
        tag("ul", *(tag("li", words) for words in step.why)),
        paragraph(
            "These times are the runtime's profiler's, which takes time itself: they are for comparing with "
            "each other, not with the latency above."
        ),
    )


def _ratio(before: float, after: float) -> str:
    if not before:
        return ""
    percentage = round(100 * (after / before - 1))
    return f"{sign(percentage)}{abs(percentage)}\u00a0%"


def _change(
    before: float,
    after: float | None,
    words: Callable[[float], str],
    change: Callable[[float, float], str] = _ratio,
) -> Piece:
    """The number after the step, and below it what it was before."""
    if after is None or after == before:
        return join([words(before), tag("small", "unchanged")])
    return join([words(after), tag("small", f"from {words(before)}"), tag("small", change(before, after))])


def _path(steps: list[StepRecord]) -> Html:
    """The gain of all kept steps together, in a sentence."""
    kept = [step for step in steps if step.kept]
    if not kept:
        return paragraph("No step paid, so the network goes on as it was found.")
    # Each ratio was measured in turns; their product is free of what the machine did between the steps.
    faster = math.prod(step.speedup for step in kept)
    first, last = steps[0], kept[-1]
    names = ", ".join(step.step for step in kept)
    size_after = last.size_bytes_after or last.size_bytes_before
    accuracy_after = last.accuracy_before if last.accuracy_after is None else last.accuracy_after
    return paragraph(
        f"Kept: {names}. Together {significant(faster, 3)} times faster, {size(first.size_bytes_before)} "
        f"down to {size(size_after)}, accuracy {points(accuracy_after - first.accuracy_before)} on "
        "validation data."
    )
