"""Trackers are given what a run wrote down, once; studies are what Optuna reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import optuna
import pytest

import quarry
from results.files import append_line, read_lines
from tests.results.report.finished_run import write_finished_run

PAGE = Path(__file__).parents[3] / "docs" / "python.md"


class Kept:
    """A tracker that keeps what it is given."""

    def __init__(self) -> None:
        self.given: dict[str, list[tuple[int, float]]] = {}
        self.keys: Mapping[str, str] = {}

    def settings(self, values: Mapping[str, str]) -> None:
        self.keys = values

    def value(self, name: str, value: float, step: int) -> None:
        self.given.setdefault(name, []).append((step, value))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_finished_run(tmp_path_factory.mktemp("tracked") / "run")


def test_a_tracker_is_given_everything_once(run: Path) -> None:
    tracker = Kept()
    seen = quarry.track(run, tracker)
    records = quarry.open_run(run).records
    assert tracker.keys["train.epochs"] == "24"
    assert tracker.given["train/loss"] == [(one.epoch, one.loss) for one in records.epochs]
    accuracies = [one.scores["accuracy"] for one in records.trials["nsga2"] if one.scores]
    assert [value for _, value in tracker.given["search/nsga2/accuracy"]] == accuracies
    assert tracker.given["artifacts/n5/test_accuracy"] == [(0, records.cards[0].accuracy.exported_test)]
    lines = list(read_lines(run / "train" / "history.jsonl"))
    append_line(run / "train" / "history.jsonl", lines[-1] | {"epoch": 24, "loss": 0.125})
    later = Kept()
    quarry.track(run, later, seen=seen)
    assert later.given["train/loss"] == [(24, 0.125)]
    assert "search/nsga2/accuracy" not in later.given


def test_studies_are_read_by_optuna_with_the_same_trials(run: Path, tmp_path: Path) -> None:
    for file in (run / "search").glob("*.jsonl"):
        file.write_text("".join(file.read_text().splitlines(keepends=True)[:8]))
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    names = quarry.write_studies(run, storage)
    trials = quarry.open_run(run).records.trials
    assert names == [f"run/{name}" for name in trials]
    study = optuna.load_study(storage=storage, study_name="run/nsga2")
    assert len(study.trials) == len(trials["nsga2"])
    for frozen, trial in zip(study.trials, trials["nsga2"], strict=True):
        assert frozen.params == trial.arch
        assert (frozen.state == optuna.trial.TrialState.COMPLETE) == trial.ok
        if trial.ok:
            assert frozen.values == [trial.numbers["accuracy"], trial.numbers["latency_ms"]]
    with pytest.raises(ValueError, match="already"):
        quarry.write_studies(run, storage)


def test_a_run_without_trials_has_no_study(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="scored no networks"):
        quarry.write_studies(tmp_path, f"sqlite:///{tmp_path / 'study.db'}")


def test_the_trackers_of_the_page_compile() -> None:
    snippets = [one for one in re.findall(r"```py\n(.*?)```", PAGE.read_text(), re.DOTALL) if "class " in one]
    assert len(snippets) == 1
    compile(snippets[0], str(PAGE), "exec")
    assert all(name in snippets[0] for name in ("mlflow", "wandb", "SummaryWriter"))
