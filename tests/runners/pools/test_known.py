"""Scores are paid for once: kept on the disk, by evaluator, safe from what an ended search left behind."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from nas.search import SerialPool, search
from nas.search.pool import Evaluate
from runners.pools.known import KnownScores
from search_spaces.choice import Choice
from search_spaces.space import Arch, SearchSpace


def nothing(arch: Arch) -> nn.Module:
    """The network of an arch, where nobody runs it."""
    return nn.Identity()


SPACE = SearchSpace("known", [Choice("a", (1, 2, 3)), Choice("b", ("x", "y"))], build=nothing)


class Counting:
    def __init__(self) -> None:
        self.archs: list[Arch] = []

    def __call__(self, arch: Arch) -> dict[str, float]:
        self.archs.append(arch)
        return {"accuracy": int(arch["a"]) / 10}


def known(tmp_path: Path, evaluate: Evaluate, evaluator: str = "e") -> KnownScores:
    return KnownScores(SerialPool(evaluate), tmp_path / "scores.jsonl", evaluator)


def run(pool: KnownScores, seed: int) -> set[float]:
    found = search(
        SPACE, objectives={"accuracy": "max"}, budget=6, searcher="random", seed=seed, pool=pool
    ).trials
    return set(found["accuracy"])


def test_a_second_search_pays_for_nothing_and_sees_the_same(tmp_path: Path) -> None:
    first, second = Counting(), Counting()
    scores = run(known(tmp_path, first), seed=0)
    assert len(first.archs) == 6
    assert run(known(tmp_path, second), seed=1) == scores  # read again from the disk
    assert second.archs == []


def test_another_evaluator_shares_nothing(tmp_path: Path) -> None:
    run(known(tmp_path, Counting()), seed=0)
    other = Counting()
    run(known(tmp_path, other, "another"), seed=0)
    assert len(other.archs) == 6


def test_failures_and_nan_are_not_kept(tmp_path: Path) -> None:
    def wrong(arch: Arch) -> dict[str, float]:
        if arch["a"] == 1:
            raise RuntimeError("no memory")
        return {"accuracy": math.nan if arch["a"] == 2 else 1.0}

    pool = known(tmp_path, wrong)
    for ticket, a in enumerate((1, 2, 3)):
        pool.submit(ticket, {"a": a, "b": "x"})
    assert [pool.next().ticket for _ in range(3)] == [0, 1, 2]
    assert [json.loads(arch)["a"] for arch in pool.scores] == [3]


def test_what_an_errored_search_left_under_way_does_not_reach_the_next(tmp_path: Path) -> None:
    pool = known(tmp_path, Counting())
    pool.submit(0, {"a": 1, "b": "x"})
    pool.submit(1, {"a": 2, "b": "x"})
    pool.close()
    pool.submit(0, {"a": 3, "b": "y"})
    outcome = pool.next()
    assert (outcome.ticket, outcome.scores) == (0, {"accuracy": 0.3})
    assert len(pool.scores) == 3, "what was finished all the same is kept"


def test_a_line_cut_by_a_kill_is_paid_for_again(tmp_path: Path) -> None:
    run(known(tmp_path, Counting()), seed=0)
    file = tmp_path / "scores.jsonl"
    file.write_bytes(file.read_bytes()[:-9])
    again = Counting()
    run(known(tmp_path, again), seed=0)
    assert len(again.archs) == 1


@pytest.mark.parametrize("searcher", ["guided", "nsga2", "random", "optuna_tpe", "linas"])
def test_first_archs_come_first_and_the_searcher_goes_on_from_them(searcher: str, tmp_path: Path) -> None:
    space = SearchSpace("wide", [Choice(f"c{i}", tuple(range(6))) for i in range(5)], build=nothing)

    def accuracy(arch: Arch) -> dict[str, float]:
        return {"accuracy": 1 - sum(abs(int(value) - 4) for value in arch.values()) / 20}

    good = space.to_arch([4, 4, 4, 4, 3])
    dear = space.to_arch([5, 5, 5, 5, 5])
    arguments = {
        "objectives": {"accuracy": "max"},
        "constraints": {"size": 22.0},
        "costs": lambda rows: {"size": rows.sum(axis=1).astype(np.float64)},
        "searcher": searcher,
        "log": tmp_path / "log.jsonl",
        "first": [good, dear, good],
    }
    found = search(space, accuracy, budget=25, **arguments).trials  # type: ignore[arg-type]
    assert found["accuracy"][0] == 0.95
    assert len(found) == 25
    assert not found[list(space.names)].duplicated().any(), "neither given twice nor proposed again"
    assert (found["size"] <= 22).all(), "what is over a limit is left out"
    longer = search(space, accuracy, budget=30, **arguments).trials  # type: ignore[arg-type]
    assert longer["accuracy"][:25].tolist() == found["accuracy"].tolist()
    assert not longer[list(space.names)].duplicated().any()
