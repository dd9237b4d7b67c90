"""Several runs beside each other: what they found, what they cost, and the settings that differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from results.files import write_atomic
from results.numbers import count, duration, milliseconds, percent, size
from results.report.chart import PERCENT, PLAIN, Chart, axis
from results.report.costs import SPENT, spent
from results.report.markup import Html, absent, join, legend, paragraph, table, tag
from results.report.page import document
from results.report.series import COLOURS
from results.report.sources import Sources, read_run
from results.report.tradeoff import squashed

RESULTS = ("run", "chosen", "test accuracy", "latency", "limit", "size", "MACs")
COSTS = ("run", *SPENT)


def read_runs(folders: Sequence[Path]) -> list[Sources]:
    """The records of two runs or more; where several folders have one name, it is the path.

    Raises:
        ValueError: fewer than two runs, one of them twice, or a folder without a run.
    """
    if len(set(map(Path.resolve, folders))) < max(2, len(folders)):
        raise ValueError("compare takes two runs or more, each once: quarry compare runs/a runs/b")
    runs = [read_run(folder) for folder in folders]
    for folder, run in zip(folders, runs, strict=True):
        if run.recipe is None:
            raise ValueError(f"there is no run in {folder}: it has no recipe.json that can be read")
        if sum(other.name == run.name for other in runs) > 1:
            run.name = str(folder)
    return runs


def results_of(run: Sources) -> list[str]:
    """The chosen network of a run, a cell for each of ``RESULTS``; the front's where nothing is exported."""
    if run.cards:
        card = run.cards[0]
        limit = "none" if card.limit.latency_ms is None else milliseconds(card.limit.latency_ms)
        return [
            run.name,
            card.name,
            percent(card.accuracy.exported_test),
            milliseconds(card.latency.measured_ms),
            f"{limit}{'' if card.limit.met else ' (missed)'}",
            size(card.size_bytes),
            count(card.macs),
        ]
    limit = milliseconds(run.summary.limit_ms) if run.summary else ""
    return [run.name, "not exported yet", "", "", limit, "", ""]


def costs_of(run: Sources) -> list[str]:
    """What a run took, all sessions of it, a cell for each of ``COSTS``."""
    sessions = [one for session in run.manifest.sessions for one in session.stages] if run.manifest else []
    if not sessions:
        return [run.name, duration(sum(run.stages.values())), *["not known"] * (len(SPENT) - 1)]
    return [run.name, *spent(sessions)]


def differences(runs: Sequence[Sources]) -> list[list[str]]:
    """The settings in which runs differ: dotted key, and what each has there."""
    settings = [dict(run.recipe.words()) if run.recipe else {} for run in runs]
    keys = dict.fromkeys(key for one in settings for key in one)
    rows = [[key, *(one.get(key, "not set") for one in settings)] for key in keys if key != "name"]
    return [row for row in rows if len(set(row[1:])) > 1]


def doubts(runs: Sequence[Sources]) -> list[str]:
    """What forbids to compare some of the figures, in sentences."""
    found = []
    profiles = {run.target.profile for run in runs if run.target}
    machines = {run.target.machine for run in runs if run.target}
    if len(profiles) > 1:
        found.append(f"Latencies are of different profiles ({', '.join(sorted(profiles))}).")
    elif len(machines) > 1:
        found.append("Latencies were measured on different machines.")
    if len({run.cards[0].accuracy.test_images for run in runs if run.cards}) > 1:
        found.append("Accuracies are on different test images.")
    if busy := [run.name for run in runs if run.busy]:
        found.append(f"Other programs kept the machine busy during {', '.join(busy)}.")
    return found


def write_comparison(runs: Sequence[Sources], path: Path) -> Path:
    """Writes the page, one file that needs nothing else.

    Raises:
        OSError: it cannot be written.
    """
    names = ", ".join(run.name for run in runs)
    rows = differences(runs)
    settings = table(["setting", *(run.name for run in runs)], rows, words=1 + len(runs)) if rows else None
    sections = [
        tag(
            "header",
            tag("p", "Quarry", class_="brand"),
            tag("h1", f"{len(runs)} runs compared"),
            tag("p", names),
        ),
        tag(
            "main",
            *(paragraph(words, kind="alarm") for words in doubts(runs)),
            tag("section", tag("h2", "Result"), table(RESULTS, [results_of(run) for run in runs], words=2)),
            tag("section", tag("h2", "Fronts"), _fronts(runs)),
            tag("section", tag("h2", "Cost"), table(COSTS, [costs_of(run) for run in runs])),
            tag(
                "section",
                tag("h2", "Settings that differ"),
                settings or absent("None: the recipes are equal."),
            ),
        ),
    ]
    write_atomic(path, document(f"{names} \u00b7 Quarry", join(sections)))
    return path


def _fronts(runs: Sequence[Sources]) -> Html:
    latencies = [
        *(entry.measured_ms for run in runs if run.summary for entry in run.summary.front),
        *(card.latency.measured_ms for run in runs for card in run.cards),
    ]
    if not latencies:
        return absent("None of the runs has searched yet.")
    accuracies = [
        *(entry.accuracy for run in runs if run.summary for entry in run.summary.front),
        *(card.accuracy.validation for run in runs for card in run.cards),
    ]
    log = squashed(latencies)
    chart = Chart(
        "Fronts of the runs: accuracy on validation data against latency",
        axis("latency, ms (logarithmic)" if log else "latency, ms", latencies, PLAIN, zero=not log, log=log),
        axis("accuracy on validation data", accuracies, PERCENT, most=1.0),
        height=440,
    )
    for place, run in enumerate(runs):
        series = _series(place)
        front = sorted(run.summary.front, key=lambda entry: entry.measured_ms) if run.summary else []
        chart.line([one.measured_ms for one in front], [one.accuracy for one in front], series)
        for one in front:
            tip = f"{run.name}, {one.name}: {percent(one.accuracy)}, {milliseconds(one.measured_ms)}"
            chart.point(one.measured_ms, one.accuracy, series, tip=tip, radius=4)
        for card in run.cards:
            ms, accuracy = card.latency.measured_ms, card.accuracy.validation
            tip = f"{run.name}, {card.name}, handed over: {percent(accuracy)}, {milliseconds(ms)}"
            chart.point(ms, accuracy, series, tip=tip, radius=6, symbol="diamond")
    entries = [("line", _series(place), run.name) for place, run in enumerate(runs)]
    words = paragraph(
        "Diamonds are files that are handed over; the fronts are before compression.", kind="note"
    )
    return join([chart.draw(), legend(entries), words])


def _series(place: int) -> str:
    return f"c{place % COLOURS}"
