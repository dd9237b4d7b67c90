"""The result of a run, in a sentence and a table."""

from __future__ import annotations

from results.numbers import compared, count, milliseconds, percent, significant, size, tiny
from results.records import Card, CardLatency, FrontEntry
from results.report.markup import Html, Piece, absent, badge, html, join, paragraph, table, tag
from results.report.sources import Sources
from results.statistics import share_interval


def headline(run: Sources) -> Html:
    """The chosen networks as exported and measured."""
    if not run.cards:
        return absent(
            "No network has been exported yet, so there is nothing to hand over. The sections below show "
            "what the finished stages found."
        )
    cards = run.cards
    other = cards[0].reference
    largest = None if other is None else run.entry(other.name)
    return join([_verdict(cards), *_busy(run), _cards(cards, largest), _explanation(cards[0])])


def _busy(run: Sources) -> list[Html]:
    """What the run said of other programs: latencies that were measured beside them may be too long."""
    if not run.busy:
        return []
    words = f"The machine was not left alone: {run.busy[0]}"
    return [paragraph(words, f" ({len(run.busy)} such warnings)" if len(run.busy) > 1 else "", kind="alarm")]


def _verdict(cards: list[Card]) -> Html:
    best = cards[0]
    limit = "none" if best.limit.latency_ms is None else milliseconds(best.limit.latency_ms)
    if not best.limit.met:
        if best.limit.broken:
            words = (
                f"{best.name} does not fit profile {best.latency.profile}: {'; '.join(best.limit.broken)}."
            )
            return paragraph(words, kind="lead alarm")
        fastest = min(card.latency.measured_ms for card in cards)
        return paragraph(
            f"None of the exported networks meets the limit of {limit}; the fastest takes "
            f"{milliseconds(fastest)}.",
            kind="lead alarm",
        )
    used = percent(best.share_of_limit, 0)
    return paragraph(
        tag("strong", best.name),
        f" {_achieved(best)} in {milliseconds(best.latency.measured_ms)} a call, {used} of the limit of "
        f"{limit}",
        _beside(best),
        kind="lead",
    )


def _achieved(card: Card) -> str:
    share, n = percent(card.accuracy.exported_test), card.accuracy.test_images
    if card.metric == "accuracy":
        return f"classifies {share} of {n:,} test images correctly"
    return f"has a {card.metric} of {share} on {n:,} test images"


def _beside(best: Card) -> str:
    """The chosen network beside the reference, as the end of a sentence."""
    other = best.reference
    if other is None:
        return "."
    difference = best.accuracy.exported_test - other.exported_test
    words = (
        f": {significant(other.speedup, 2)} times faster than the {other.name} network of the space, "
        f"{best.latency.how} side by side, and {compared(difference)}"
    )
    if best.weights is not None and best.weights.kept != "inherited":
        words += f" with {best.weights.kept} weights (the {other.name} has those of the supernet)"
    if other.earlier_ms is not None:
        words += (
            f". The search had measured the {other.name} network at {milliseconds(other.earlier_ms)}, now it "
            f"takes {milliseconds(other.latency_ms)}: the device was busy at one of these times"
        )
    return f"{words}."


def _cards(cards: list[Card], largest: FrontEntry | None) -> Html:
    head = [
        "network",
        "test accuracy",
        f"latency, {cards[0].latency.how}",
        "predicted",
        "limit",
        "size",
        "MACs",
        "parameters",
        "faster",
    ]
    other = cards[0].reference
    rows: list[list[Piece]] = [_row(card) for card in cards]
    if other is None:
        return table(head, rows)
    rows.append(
        [
            join([tag("em", other.name), _small("for comparison")]),
            percent(other.exported_test),
            milliseconds(other.latency_ms),
            "",
            "",
            size(other.size_bytes),
            count(largest.macs) if largest else "",
            count(largest.params) if largest else "",
            "1.0\u00d7",
        ]
    )
    return table(head, rows)


def _row(card: Card) -> list[Piece]:
    latency, steps = card.latency, ", ".join(card.steps_kept)
    return [
        join([tag("strong", card.name), _small(f"{card.precision}; {steps or 'no compression kept'}")]),
        join([percent(card.accuracy.exported_test), _small(f"float {percent(card.accuracy.float_test)}")]),
        join(
            [
                milliseconds(latency.measured_ms),
                _small(f"{significant(latency.low_ms)} to {significant(latency.high_ms)}"),
            ]
        ),
        ""
        if latency.predicted_ms is None or latency.upper_ms is None
        else join([milliseconds(latency.predicted_ms), _small(f"at most {significant(latency.upper_ms)}")]),
        badge(good=card.limit.met),
        size(card.size_bytes),
        count(card.macs),
        count(card.params),
        "" if card.reference is None else f"{significant(card.reference.speedup, 2)}\u00d7",
    ]


def _small(text: str) -> Html:
    return tag("small", text)


def _explanation(card: Card) -> Html:
    latency, agreement = card.latency, card.agreement
    n = card.accuracy.test_images
    stands, known = "Accuracy is", ""
    if card.metric == "accuracy":
        interval = share_interval(round(card.accuracy.exported_test * n), n)
        known = (
            f"; from so many images {percent(interval.value)} may be {percent(interval.low)} to "
            f"{percent(interval.high)} (95 % interval)"
        )
    else:
        stands = f"Accuracy stands for the {card.metric} on this page; here it is"
    runtime = "ONNX Runtime on the machine of the run" if latency.how == "computed" else latency.runtime
    return paragraph(
        f"{stands} that of the exported file, run in {runtime} on the {n:,} test images, which "
        f"nothing before had seen{known}. {_what_latency_is(latency)}; the prediction is the cost "
        "model's for the network before compression, with its upper bound. The file of ",
        tag("strong", card.name),
        f" gives the same answers as its PyTorch network on {percent(agreement.same_predictions)} of the "
        f"images; no output differs by more than {tiny(agreement.max_difference)}.",
        "" if card.weights is None else f" Its {card.weights.sentence()}.",
        kind="note",
    )


def _what_latency_is(latency: CardLatency) -> str:
    if latency.how == "computed":
        return f"Latency is computed from the constants of profile {latency.profile}; no latency was measured"
    threads = f"{latency.threads} thread{'s' if latency.threads != 1 else ''}"
    return (
        f"Latency is the median of one call with a batch of {latency.batch} on {threads} (profile "
        f"{latency.profile}), with the interval of that median"
    )


def title(run: Sources) -> str:
    """Name of the run: its recipe's, else its folder's."""
    return (run.recipe.name if run.recipe else "") or run.name


def subtitle(run: Sources) -> Html:
    """Date, seed, processor and commit of the run in a line."""
    made = run.provenance
    if made is None:
        return Html("")
    parts = [
        made.date[:10],
        f"seed {made.seed}",
        made.machine.processor,
        f"commit {made.commit[:10]}" if made.commit else "",
    ]
    return Html(" \u00b7 ".join(html(part) for part in parts if part))
