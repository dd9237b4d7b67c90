"""Searches of Optuna: their studies open, go on, and are those of one space."""

import json
from pathlib import Path

import numpy as np
import pytest

from nas.search import search
from nas.search.contract import small_accuracy
from results.files import read_lines
from search_spaces.choice import Choice
from search_spaces.space import SearchSpace
from tests.nas.search.test_engine import run


def test_the_study_opens_and_continues(tmp_path):
    import optuna

    log = tmp_path / "optuna_tpe.jsonl"
    run(searcher="optuna_tpe", log=log, budget=8)
    run(searcher="optuna_tpe", log=log, budget=15)
    study = load_study(tmp_path / "optuna_tpe.journal")
    assert len(study.trials) == 15
    assert {trial.state for trial in study.trials} == {optuna.trial.TrialState.COMPLETE}
    lines = [line["arch"] for line in read_lines(log)]
    assert [json.loads(trial.user_attrs["arch"]) for trial in study.trials] == lines
    first = study.trials[0]
    assert first.params["width"] == lines[0]["width"]
    assert first.values[0] == pytest.approx(small_accuracy(lines[0])["accuracy"])
    inactive = [t for t in study.trials if t.params["depth"] == 1]
    assert all("mixer1" not in trial.params for trial in inactive)


def test_a_study_of_another_space_is_refused(tmp_path):
    run(searcher="optuna_tpe", log=tmp_path / "a.jsonl", budget=3)
    Path(tmp_path / "a.jsonl").unlink()
    other = SearchSpace("other", [Choice("width", (8, 16, 32))], lambda arch: None)
    with pytest.raises(ValueError, match=r"a.journal is a study of another space"):
        run(
            space=other,
            costs=lambda rows: {"latency_ms": np.ones(len(rows))},
            searcher="optuna_tpe",
            log=tmp_path / "a.jsonl",
        )


def test_a_study_whose_log_was_deleted_begins_anew(tmp_path):
    run(searcher="optuna_nsga2", log=tmp_path / "a.jsonl", budget=6)
    Path(tmp_path / "a.jsonl").unlink()
    run(searcher="optuna_nsga2", log=tmp_path / "a.jsonl", budget=4)
    assert len(load_study(tmp_path / "a.journal").trials) == 4


def load_study(path):
    import optuna

    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    return optuna.load_study(study_name=None, storage=storage)


@pytest.mark.filterwarnings("ignore::Warning")
def test_optunas_gaussian_process_searches():
    space = SearchSpace("two", [Choice("a", (1, 2, 3, 4)), Choice("b", ("x", "y"))], lambda arch: None)
    found = search(
        space,
        lambda arch: {"accuracy": arch["a"] / 10},
        objectives={"accuracy": "max"},
        budget=6,
        searcher="optuna_gp",
    )
    assert len(found.trials) == 6
