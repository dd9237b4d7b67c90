"""What a run found, for other tools: a tracker of the user's choice, and studies for optuna-dashboard."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from results.records import Trial
from results.report.sources import Sources, read_run

Seen = set[tuple[str, int]]
"""Values that a tracker was given, by name and step."""


class Tracker(Protocol):
    """What MLflow, W&B, TensorBoard or another tracker is to a run; docs/python.md has one of each."""

    def settings(self, values: Mapping[str, str]) -> None:
        """Takes the recipe: dotted keys with their values."""

    def value(self, name: str, value: float, step: int) -> None:
        """Takes one value: ``train/loss`` of an epoch, ``search/nsga2/accuracy`` of a trial."""


def track(out: str | Path, tracker: Tracker, *, seen: Seen | None = None) -> Seen:
    """Gives a tracker what a run has written down so far; a run at work may be tracked again and again.

    Args:
        out: folder of the run.
        tracker: tracker of your choice.
        seen: what an earlier call returned; that is not given again. It is changed in place.

    Returns:
        What the tracker has been given, for the next call.

    Raises:
        ValueError: there is no such folder.
    """
    run = read_run(Path(out))
    if seen is None:
        seen = set()
        tracker.settings(dict(run.recipe.words()) if run.recipe else {})
    for name, value, step in _values(run):
        if (name, step) not in seen:
            tracker.value(name, value, step)
            seen.add((name, step))
    return seen


def _values(run: Sources) -> Iterator[tuple[str, float, int]]:
    for epoch in run.epochs:
        yield "train/loss", epoch.loss, epoch.epoch
        yield "train/learning_rate", epoch.learning_rate, epoch.epoch
        for name, accuracy in epoch.watched.items():
            yield f"train/{name}", accuracy, epoch.epoch
    for searcher, trials in run.trials.items():
        for step, trial in enumerate(trials):
            for name in ("accuracy", "latency_ms"):
                if name in trial.numbers and trial.ok:
                    yield f"search/{searcher}/{name}", trial.numbers[name], step
    for step, raced in enumerate(run.raced):
        if raced.accuracy is not None:
            yield "race/accuracy", raced.accuracy, step
            yield "race/latency_ms", raced.latency_ms, step
    for card in run.cards:
        yield f"artifacts/{card.name}/test_accuracy", card.accuracy.exported_test, 0
        yield f"artifacts/{card.name}/latency_ms", card.latency.measured_ms, 0
        yield f"artifacts/{card.name}/size_bytes", float(card.size_bytes), 0


def write_studies(out: str | Path, storage: str) -> list[str]:
    """Writes the trials of a run as Optuna studies, one for each searcher: accuracy up, latency down.

    Args:
        out: folder of the run.
        storage: address of Optuna's storage, such as ``sqlite:///study.db``.

    Returns:
        Names of the studies.

    Raises:
        ValueError: there is no such folder, the run has no trials, or the studies are there already.
    """
    import optuna

    run = read_run(Path(out))
    found = {f"{run.name}/{name}": trials for name, trials in run.trials.items() if trials}
    if not found:
        raise ValueError(f"the run in {out} has scored no networks, so there is no study to write")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    there = {summary.study_name for summary in optuna.get_all_study_summaries(storage)}
    if twice := sorted(there & set(found)):
        raise ValueError(f"{storage} has {', '.join(twice)} already; give another file, or delete it")
    for name, trials in found.items():
        study = optuna.create_study(storage=storage, study_name=name, directions=["maximize", "minimize"])
        study.set_metric_names(["accuracy", "latency_ms"])
        study.add_trials([_frozen(trial, trials) for trial in trials])
    return list(found)


def _frozen(trial: Trial, trials: list[Trial]) -> object:
    """A trial as Optuna has it; what scored nothing has failed."""
    from optuna.distributions import CategoricalDistribution
    from optuna.trial import TrialState, create_trial

    choices = {
        name: CategoricalDistribution(
            sorted(
                {one.arch[name] for one in trials if name in one.arch}, key=lambda value: json.dumps(value)
            )
        )
        for name in trial.arch
    }
    numbers = trial.numbers
    whole = trial.ok and {"accuracy", "latency_ms"} <= set(numbers)
    return create_trial(
        params=dict(trial.arch),
        distributions=choices,
        values=[numbers["accuracy"], numbers["latency_ms"]] if whole else None,
        state=TrialState.COMPLETE if whole else TrialState.FAIL,
        user_attrs={"error": trial.error} if trial.error else {},
    )
