"""The supernet's training: loss, watched subnets, alarms."""

from __future__ import annotations

from results.numbers import count, duration, milliseconds, percent, significant
from results.records import EpochRecord, SpaceRecord
from results.report.chart import PERCENT, PLAIN, Chart, axis
from results.report.markup import Html, absent, facts, join, legend, paragraph, tag
from results.report.series import of_size
from results.report.sources import Sources

_SHOWN = 10  # alarms: a training that goes wrong raises some in every epoch


def training(run: Sources) -> Html:
    """The curves of the training, its numbers and its alarms."""
    epochs = run.epochs
    if not epochs:
        return absent("The supernet has not been trained, or its training has not finished an epoch.")
    names = sorted({name for epoch in epochs for name in epoch.watched}, key=_order)
    charts = [tag("div", tag("h3", "Loss"), _loss(epochs).draw())]
    if names:
        charts.append(
            tag("div", tag("h3", "Watched subnets"), _watched(epochs, names).draw(), _legend(names))
        )
    last = epochs[-1]
    numbers = facts(
        [
            *_space(run.space),
            ("epochs", str(last.epoch + 1)),
            ("optimizer steps", f"{last.step:,}"),
            ("time", duration(sum(epoch.seconds for epoch in epochs))),
            ("images per second", f"{sorted(e.images_per_second for e in epochs)[len(epochs) // 2]:,.0f}"),
            *((name, percent(last.watched[name])) for name in names if name in last.watched),
        ]
    )
    return join([tag("div", *charts, class_="pair"), numbers, _alarms(epochs)])


def _space(space: SpaceRecord | None) -> list[tuple[str, str]]:
    """What was left out before the training, and why."""
    if space is None or space.limit_ms is None or not space.kept:
        return []
    kept = "; ".join(f"{name} {', '.join(map(str, values))}" for name, values in space.kept.items())
    left = f"{count(space.networks_left)} of {count(space.networks)} networks"
    why = f"for {milliseconds(space.limit_ms)} on {space.profile}"
    return [(f"left of the space {why}", left), ("values kept of choices that lost some", kept)]


def _order(name: str) -> tuple[int, str]:
    return {"largest": 0, "smallest": 2}.get(name, 1), name


def _loss(epochs: list[EpochRecord]) -> Chart:
    numbers = [epoch.epoch + 1 for epoch in epochs]
    losses = [epoch.loss for epoch in epochs]
    chart = Chart(
        "Training loss by epoch",
        axis("epoch", [0, *numbers], PLAIN, zero=True),
        axis("loss", losses, PLAIN),
    )
    chart.line(numbers, losses, "c0")
    for number, epoch in zip(numbers, epochs, strict=True):
        tip = f"epoch {number}: loss {significant(epoch.loss)}, learning rate {epoch.learning_rate:.2g}"
        chart.point(number, epoch.loss, "c0", tip=tip, radius=2.6)
    return chart


def _watched(epochs: list[EpochRecord], names: list[str]) -> Chart:
    values = [value for epoch in epochs for value in epoch.watched.values()]
    chart = Chart(
        "Validation accuracy of watched subnets by epoch",
        axis("epoch", [0, *(epoch.epoch + 1 for epoch in epochs)], PLAIN, zero=True),
        axis("accuracy on validation data", values, PERCENT, most=1.0),
    )
    for name in sorted(names, key=lambda name: of_size(name) != "control"):
        seen = [(epoch.epoch + 1, epoch.watched[name]) for epoch in epochs if name in epoch.watched]
        chart.line([at for at, _ in seen], [value for _, value in seen], of_size(name))
        for at, value in seen:
            tip = f"{name}, epoch {at}: {percent(value)}"
            chart.point(at, value, of_size(name), tip=tip, radius=2.2)
    return chart


def _legend(names: list[str]) -> Html:
    entries = [("line", of_size(name), name) for name in names if of_size(name) != "control"]
    others = [name for name in names if of_size(name) == "control"]
    if others:
        entries.append(("line", "control", f"{len(others)} others" if len(others) > 1 else others[0]))
    return legend(entries)


def _alarms(epochs: list[EpochRecord]) -> Html:
    said = [(epoch.epoch + 1, alarm) for epoch in epochs for alarm in epoch.alarms]
    if not said:
        return paragraph(
            "No alarm was raised: no bigger subnet did clearly worse than a smaller one.", kind="note"
        )
    last = said[-1][0]
    more = f"{len(said) - _SHOWN} earlier ones are in train/history.jsonl. " if len(said) > _SHOWN else ""
    rest = "" if last == epochs[-1].epoch + 1 else f"Epochs after {last} raised none."
    return tag(
        "div",
        tag("h3", "Alarms"),
        tag("ul", *(tag("li", f"Epoch {at}: {alarm}") for at, alarm in said[-_SHOWN:]), class_="alarm"),
        paragraph(more + rest, kind="note") if more or rest else "",
    )
