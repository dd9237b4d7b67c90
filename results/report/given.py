"""The result of compressing a model that was given: its files, their front, and what stayed as it was."""

from __future__ import annotations

import numpy as np

from results.front import non_dominated
from results.numbers import compared, count, milliseconds, percent, points, significant, size, tiny
from results.records import CompressedModel, GivenFile
from results.report.chart import PERCENT, PLAIN, Chart, axis
from results.report.markup import Html, Piece, absent, badge, join, legend, paragraph, table, tag
from results.report.sources import Sources


def given_result(run: Sources) -> Html:
    """The answer in a sentence, and every file that is handed over, run on the test set."""
    assert run.given is not None
    if not run.cards:
        return absent("No file has been handed over yet.")
    return join([_verdict(run, run.given), _cards(run), _explanation(run)])


def _verdict(run: Sources, given: CompressedModel) -> Html:
    cards = {card.name: card for card in run.cards}
    answer, original = cards.get(given.answer), cards.get(given.original.name)
    files = {one.name: one for one in given.files}
    if not given.met:
        missed = "; ".join(files[given.answer].missed)
        return paragraph(
            f"No file meets the goal ({given.goal}). The nearest is {given.answer}: {missed}.",
            kind="lead alarm",
        )
    if answer is None or original is None:
        return absent("The file that meets the goal is not there any more.")
    faster = original.latency.measured_ms / answer.latency.measured_ms
    difference = answer.accuracy.exported_test - original.accuracy.exported_test
    return paragraph(
        tag("strong", answer.name),
        f" meets the goal ({given.goal}): {milliseconds(answer.latency.measured_ms)} a call, "
        f"{significant(faster, 3)} times as fast as the model as it was, {answer.latency.how} side by side; "
        f"{size(answer.size_bytes)} for {size(original.size_bytes)}; and {compared(difference)}, "
        f"{percent(answer.accuracy.exported_test)} of {answer.accuracy.test_images:,} test images.",
        kind="lead",
    )


def _cards(run: Sources) -> Html:
    assert run.given is not None
    shares = {one.name: one.share for one in run.given.files}
    original = next((card for card in run.cards if card.name == run.given.original.name), None)
    rows: list[list[Piece]] = []
    for card in sorted(run.cards, key=lambda one: one.latency.measured_ms):
        latency = card.latency
        about = [
            card.precision,
            f"{percent(shares[card.name], 0)} of the channels" if card.name in shares else "",
        ]
        faster = 0.0 if original is None else original.latency.measured_ms / latency.measured_ms
        rows.append(
            [
                join([tag("strong", card.name), tag("small", "; ".join(filter(None, about)))]),
                join(
                    [
                        percent(card.accuracy.exported_test),
                        tag("small", f"validation {percent(card.accuracy.validation)}"),
                    ]
                ),
                join(
                    [
                        milliseconds(latency.measured_ms),
                        tag("small", f"{significant(latency.low_ms)} to {significant(latency.high_ms)}"),
                    ]
                ),
                f"{significant(faster, 3)}\u00d7" if faster else "",
                size(card.size_bytes),
                count(card.macs),
                count(card.params),
                badge(good=card.limit.met),
            ]
        )
    head = ["file", "test accuracy", "latency", "as fast", "size", "MACs", "parameters", "goal"]
    return table(head, rows)


def _explanation(run: Sources) -> Html:
    latency, agreement = run.cards[0].latency, run.cards[0].agreement
    threads = f"{latency.threads} thread{'s' if latency.threads != 1 else ''}"
    return paragraph(
        f"Accuracy is that of the file, run on {run.cards[0].accuracy.test_images:,} test images that "
        f"nothing before had seen. Latency is the median of one call with a batch of {latency.batch} on "
        f"{threads} (profile {latency.profile}), all files measured side by side. The file of "
        f"{run.cards[0].name} predicts the same class as its PyTorch network on "
        f"{percent(agreement.same_predictions)} of the images; no output differs by more than "
        f"{tiny(agreement.max_difference)}.",
        kind="note",
    )


def given_front(run: Sources) -> Html:
    """All files that were made, accuracy on validation data against latency."""
    assert run.given is not None
    files = run.given.files
    return join(
        [
            _chart(run.given).draw(),
            legend(
                [
                    ("dot", "front", "files that were made"),
                    ("dot", "largest", "the model as it was"),
                    ("ring", "front", "handed over"),
                ]
            ),
            _table(files),
        ]
    )


def _chart(given: CompressedModel) -> Chart:
    files = sorted(given.files, key=lambda one: one.latency_ms)
    chart = Chart(
        "Accuracy on validation data against latency of all files",
        axis("latency, ms", [*(one.high_ms for one in files), given.latency_ms or 0.0], PLAIN, zero=True),
        axis("accuracy on validation data", [one.accuracy for one in files], PERCENT, most=1.0),
        height=420,
    )
    if given.latency_ms is not None:
        chart.limit(given.latency_ms, f"limit {milliseconds(given.latency_ms)}")
    found = np.array([(one.latency_ms, -one.accuracy) for one in files]).reshape(-1, 2)
    steps = [files[place] for place in np.flatnonzero(non_dominated(found))]
    chart.line([one.latency_ms for one in steps], [one.accuracy for one in steps], "front", stairs=True)
    for one in files:
        series = "largest" if one is given.original else "front"
        tip = f"{one.name}: {percent(one.accuracy)}, {milliseconds(one.latency_ms)}, {size(one.size_bytes)}"
        chart.across(one.accuracy, one.low_ms, one.high_ms, series)
        chart.point(one.latency_ms, one.accuracy, series, tip=tip, radius=4)
        if one.handed_over:
            chart.point(one.latency_ms, one.accuracy, series, radius=9, symbol="circle-open")
    return chart


def _table(files: tuple[GivenFile, ...]) -> Html:
    original = files[0]
    rows: list[list[Piece]] = [
        [
            tag("strong", one.name) if one.handed_over else one.name,
            one.precision,
            percent(one.share, 0),
            join([percent(one.accuracy), tag("small", points(one.accuracy - original.accuracy))]),
            milliseconds(one.latency_ms),
            size(one.size_bytes),
            count(one.macs),
            count(one.params),
            join([badge(good=not one.missed), tag("small", "; ".join(one.missed), class_="reason")]),
        ]
        for one in sorted(files, key=lambda one: one.latency_ms)
    ]
    head = ["file", "form", "channels", "accuracy", "latency", "size", "MACs", "parameters", "goal"]
    return table(head, rows)


def left_alone(run: Sources) -> Html:
    """Channels that could not be cut, with the reasons."""
    assert run.given is not None
    left = run.given.left
    if not left:
        return paragraph("All channels of the model could be cut.")
    rows: list[list[Piece]] = [[one.layer, count(one.channels), one.reason] for one in left]
    return table(["layer", "channels", "why they stay"], rows, words=1)
