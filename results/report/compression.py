"""What compression did: each step before and after, kept or undone, and why."""

from __future__ import annotations

from collections.abc import Callable

from results.report.markup import (
    Html,
    Piece,
    absent,
    count,
    duration,
    join,
    milliseconds,
    paragraph,
    percent,
    points,
    sign,
    significant,
    size,
    table,
    tag,
)
from results.report.sources import Json, Sources


def compression(run: Sources) -> Html:
    """One table a network."""
    if not run.steps:
        return absent("No network has been compressed yet.")
    networks = list(dict.fromkeys(str(step.get("network", "")) for step in run.steps))
    parts = []
    for network in networks:
        steps = [step for step in run.steps if str(step.get("network", "")) == network]
        parts += [tag("h3", network), _path(steps), table(_HEAD, [_row(step) for step in steps], words=2)]
        parts += [_why(step) for step in steps if step.get("why")]
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


def _row(step: Json) -> list[Piece]:
    kept = bool(step.get("kept"))
    name = str(step.get("step", ""))
    about = [str(step.get("proposal") or "").replace(name, ""), duration(float(step.get("seconds") or 0.0))]
    return [
        join([tag("strong", name), tag("small", "; ".join(part for part in about if part))]),
        join(
            [
                tag("span", "kept" if kept else "undone", class_=f"badge {'yes' if kept else 'no'}"),
                tag("small", str(step.get("reason", "")), class_="reason"),
            ]
        ),
        _change(step, "accuracy", percent),
        _change(step, "latency_ms", milliseconds),
        _change(step, "size_bytes", size),
        _change(step, "macs", count),
        _change(step, "params", count),
    ]


def _why(step: Json) -> Html:
    """Where the time of a file goes that was meant to be faster; open on paper."""
    summary = tag("summary", f"Where the time goes after {step.get('step', '')}")
    return tag(
        "details",
        summary,
        tag("ul", *(tag("li", str(words)) for words in step["why"])),
        paragraph(
            "These times are the runtime's profiler's, which takes time itself: they are for comparing with "
            "each other, not with the latency above."
        ),
    )


def _change(step: Json, name: str, words: Callable[[float], str]) -> Piece:
    """The number after the step, and below it what it was before."""
    before, after = step.get(f"{name}_before"), step.get(f"{name}_after")
    if before is None:
        return ""
    if after is None or after == before:
        return join([words(before), tag("small", "unchanged")])
    change = points(after - before) if name == "accuracy" else _ratio(before, after)
    return join([words(after), tag("small", f"from {words(before)}"), tag("small", change)])


def _ratio(before: float, after: float) -> str:
    if not before:
        return ""
    percentage = round(100 * (after / before - 1))
    return f"{sign(percentage)}{abs(percentage)}\u00a0%"


def _path(steps: list[Json]) -> Html:
    """From where to where the kept steps led, in a sentence."""
    kept = [step for step in steps if step.get("kept") and step.get("latency_ms_after")]
    first = steps[0]
    if not kept or not first.get("latency_ms_before"):
        return paragraph("No step paid, so the network goes on as it was found.")
    last = kept[-1]
    # Each ratio was measured in turns; their product is free of what the machine did between the steps.
    faster = 1.0
    for step in kept:
        faster *= float(step["latency_ms_before"]) / float(step["latency_ms_after"])
    names = ", ".join(str(step.get("step")) for step in kept)
    return paragraph(
        f"Kept: {names}. Together {significant(faster, 3)} times faster, "
        f"{size(first['size_bytes_before'])} down to {size(last['size_bytes_after'])}, accuracy "
        f"{points(last['accuracy_after'] - first['accuracy_before'])} on validation data."
        if first.get("size_bytes_before") and last.get("size_bytes_after")
        else f"Kept: {names}."
    )
