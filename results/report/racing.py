"""The race of networks that were trained alone: who ran how long, and who went on."""

from __future__ import annotations

from itertools import groupby

from results.numbers import count, duration, milliseconds, percent, significant
from results.records import Raced
from results.report.chart import PERCENT, PLAIN, Chart, axis
from results.report.markup import Html, Piece, absent, join, paragraph, table, tag
from results.report.sources import Sources


def racing(run: Sources) -> Html:
    """Accuracy after every round, and a table of all trainings."""
    if not run.raced:
        return absent("No network has been trained yet.")
    rounds = [list(group) for _, group in groupby(run.raced, key=lambda one: (one.rung, one.epochs))]
    words = "; then ".join(
        f"{len(group)} network{'s' if len(group) > 1 else ''} for {group[0].epochs} "
        f"epoch{'s' if group[0].epochs > 1 else ''}"
        for group in rounds
    )
    seconds = sum(one.seconds for one in run.raced)
    return join(
        [
            paragraph(f"Networks near the limit were trained alone: {words}; {duration(seconds)} in all."),
            _chart(run.raced).draw(),
            _table(run.raced),
            paragraph(
                "Each round trains anew, on all training images; accuracy is on validation images. All "
                "rounds but the last choose by the loss of the last epoch. Half of the first round are the "
                "first of each family in turn (networks mostly of one block or mixer), the others are "
                "evenly spread.",
                kind="note",
            ),
        ]
    )


def _chart(raced: list[Raced]) -> Chart:
    done = [(one, one.accuracy) for one in raced if one.accuracy is not None]
    chart = Chart(
        "Accuracy on validation data after each training, by its epochs",
        axis("epochs", [one.epochs for one, _ in done], PLAIN, zero=True),
        axis("accuracy on validation data", [accuracy for _, accuracy in done], PERCENT, most=1.0),
    )
    for one, accuracy in done:
        tip = f"{percent(accuracy)} after {one.epochs} epochs, {count(one.macs)} MACs, {one.precision}"
        chart.point(one.epochs, accuracy, "front", tip=tip, radius=4)
    return chart


def _table(raced: list[Raced]) -> Html:
    head = ["network", "epochs", "accuracy", "training loss", "measured before", "format", "MACs", "time"]
    ordered = sorted(raced, key=lambda one: (-one.rung, -(one.accuracy or 0.0)))
    rows: list[list[Piece]] = [
        [
            tag("small", ", ".join(f"{name}={value}" for name, value in one.arch.items())),
            str(one.epochs),
            one.error if one.accuracy is None else percent(one.accuracy),
            "" if one.train_loss is None else significant(one.train_loss, 3),
            milliseconds(one.latency_ms),
            one.precision,
            count(one.macs),
            duration(one.seconds),
        ]
        for one in ordered
    ]
    return table(head, rows)
