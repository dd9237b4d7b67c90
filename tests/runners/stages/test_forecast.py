"""A job of pieces that take what a few of them took, played on a clock of our own, ends as foretold."""

from __future__ import annotations

import heapq

import pytest

from runners.reading.load import load_recipe
from runners.stages.forecast import Paces, forecast

LAYERS, CHECKED, EACH_S = 75, 10, 0.2
PACES = Paces(
    export_s={"fp32": 0.4, "int8": 0.9},
    layers=LAYERS,
    layer_s=0.1,
    start_s=0.7,
    epoch_s=1.3,
    score_s=0.05,
    ask_s={"random": 0.002, "guided": 0.09},
    alone_s=0.2,
    further_s=0.4,
    run_s=0.06,
)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def spend(self, seconds: float, times: int = 1) -> None:
        for _ in range(times):
            self.now += seconds

    def measure(self, files: int, each_s: float) -> None:
        """Files in groups of twelve with a reference; a process for every 0.6 s, five at most."""
        for first in range(0, files, 12):
            budget_s = each_s * (len(range(first, min(first + 12, files))) + 1)
            self.spend(budget_s)
            self.spend(PACES.start_s, times=min(5, int(budget_s / 0.6)))

    def search(self, budget: int, workers: int, ask_s: float) -> None:
        """Proposals one after another; each is scored by the worker that is free first."""
        free = [self.now] * workers
        for _ in range(budget):
            began = max(self.now, free[0])
            self.now = began + ask_s
            heapq.heapreplace(free, self.now + PACES.score_s)
        self.now = max(free)


def played() -> dict[str, float]:
    """What each stage of the digits takes, piece after piece."""
    recipe, found = load_recipe("digits"), {}
    clock = Clock()
    for form in ("fp32", "int8"):
        networks = recipe.measure.fit_networks + 2 * CHECKED
        clock.spend(PACES.layer_s, times=LAYERS)
        clock.spend(PACES.export_s[form], times=networks)
        clock.measure(LAYERS + networks, EACH_S)
    found["measure"], clock = clock.now, Clock()
    for _ in range(recipe.train.epochs):
        clock.spend(PACES.epoch_s)
        clock.spend(PACES.score_s, times=4)
    found["train"], clock = clock.now, Clock()
    for ask_s in PACES.ask_s.values():
        clock.search(recipe.search.budget, recipe.search.workers, ask_s)
    clock.spend(PACES.export_s["int8"], times=12)
    clock.measure(12, 0.25)
    found["search"], clock = clock.now, Clock()
    for _ in range(recipe.compress.networks):
        clock.spend(PACES.further_s, times=recipe.compress.recovery.epochs)
        clock.spend(PACES.alone_s, times=recipe.train.epochs)
        for _step in ("finetune", "retrain"):
            clock.spend(PACES.export_s["int8"] + PACES.run_s + 3.0)
            clock.spend(PACES.start_s, times=5)
    found["compress"] = clock.now
    return found


def test_each_stage_takes_what_was_foretold_within_a_factor_of_one_and_a_half() -> None:
    recipe = load_recipe("digits")
    found = forecast(recipe, PACES, check_networks=CHECKED, seconds_each=EACH_S)
    assert list(found) == ["measure", "train", "search", "compress", "export"]
    for stage, took in played().items():
        assert 1 / 1.5 < found[stage] / took < 1.5, stage
    total = sum(found.values()) - found["export"]
    assert total == pytest.approx(sum(played().values()), rel=0.15)


def test_networks_that_are_trained_alone_share_the_workers() -> None:
    race = "race.networks=12", "race.epochs=1", "race.keep=6", "race.finalists=2"
    recipe = load_recipe("digits", ['search.ranking="alone"', "search.workers=2", "train.epochs=30", *race])
    paces = Paces(export_s={"fp32": 0.4}, alone_s=2.0)
    found = forecast(recipe, paces, check_networks=0, seconds_each=EACH_S)
    assert "train" not in found
    # Twelve networks two at a time for an epoch, then the best two for thirty.
    assert found["search"] == pytest.approx((6 + 30) * 2.0, abs=10)


def test_longer_trainings_and_larger_budgets_take_longer() -> None:
    def total(*settings: str) -> float:
        recipe = load_recipe("digits", settings)
        return sum(forecast(recipe, PACES, check_networks=CHECKED, seconds_each=EACH_S).values())

    assert total("train.epochs=48") == pytest.approx(total() + 24 * (1.3 + 4 * 0.05) + 2 * 24 * 0.2)
    assert total("search.budget=300") == pytest.approx(total() + 150 * (0.025 + 0.09))
