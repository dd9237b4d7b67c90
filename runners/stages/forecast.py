"""How long a whole run will take, stage by stage, from what a few of its steps took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nas.costs.table.build import GROUP
from nas.search.halving import rungs
from runners.measuring.stopwatch import processes
from runners.recipe.schema import Recipe
from runners.stages import compress, front, scout, together, train

_WATCHED = 2 + train.WATCHED_RANDOM  # networks that are scored after each epoch; largest and smallest too
_RAY_S = 6.0  # until workers are there


@dataclass(frozen=True, slots=True, kw_only=True)
class Paces:
    """Seconds of the pieces that a run is made of.

    Attributes:
        export_s: exporting a network, by its number format.
        layers: number of distinct layers and chains that are measured; 0 where none are.
        layer_s: exporting a layer.
        start_s: a process that measures, beyond what it measures.
        epoch_s: an epoch of the supernet; 0 where there is none, as with the next two.
        score_s: setting the statistics of a network with shared weights and scoring it.
        ask_s: proposing a network, by the searcher.
        alone_s: an epoch of a network that is trained alone.
        further_s: an epoch of fine-tuning, with what its teachers give.
        run_s: running a file on the validation or test images.
    """

    export_s: Mapping[str, float]
    layers: int = 0
    layer_s: float = 0.0
    start_s: float = 0.0
    epoch_s: float = 0.0
    score_s: float = 0.0
    ask_s: Mapping[str, float] = field(default_factory=dict)
    alone_s: float = 0.0
    further_s: float = 0.0
    run_s: float = 0.0


def forecast(recipe: Recipe, paces: Paces, *, check_networks: int, seconds_each: float) -> dict[str, float]:
    """Seconds of each stage of a run without minutes.

    Steps of compression that make networks faster are counted without their trainings: most are not tried
    where files are within the limit already.

    Args:
        recipe: what is done.
        paces: what its pieces take.
        check_networks: whole networks that each form is checked on.
        seconds_each: seconds to measure one of them.
    """
    alone = recipe.search.ranking == "alone"
    found = {
        "measure": _scouting(recipe, paces) if alone else _table(recipe, paces, check_networks, seconds_each)
    }
    if not alone:
        found["train"] = recipe.train.epochs * (paces.epoch_s + _WATCHED * paces.score_s)
    found["search"] = _race(recipe, paces) if alone else _search(recipe, paces)
    found["compress"] = _compress(recipe, paces, alone=alone)
    found["export"] = _export(recipe, paces)
    return found


def _timed(files: int, seconds_each: float, paces: Paces, *, at_once: int = GROUP) -> float:
    """Seconds of timing files in groups, each group in several processes one after another."""
    total = 0.0
    while files > 0:
        budget_s = seconds_each * (min(files, at_once) + 1)  # a reference is timed along
        total += budget_s + processes(budget_s) * paces.start_s
        files -= at_once
    return total


def _table(recipe: Recipe, paces: Paces, check_networks: int, seconds_each: float) -> float:
    total = 0.0
    for export_s in paces.export_s.values():
        networks = recipe.measure.fit_networks + 2 * check_networks
        total += paces.layers * paces.layer_s + networks * export_s
        total += _timed(paces.layers + networks, seconds_each, paces)
    return total


def _scouting(recipe: Recipe, paces: Paces) -> float:
    networks = scout.AT_ONCE + recipe.race.networks  # of all sizes, then near the limit
    files = networks * len(paces.export_s)
    timed_s = _timed(files, scout.SECONDS_EACH, paces, at_once=scout.AT_ONCE)
    return networks * sum(paces.export_s.values()) + timed_s


def _search(recipe: Recipe, paces: Paces) -> float:
    search, total = recipe.search, 0.0
    for ask_s in paces.ask_s.values():
        total += search.budget * max(ask_s, paces.score_s / search.workers)
    front_s = max(front.LEAST_SECONDS, front.SECONDS_EACH * front.MEASURED)
    export_s = max(paces.export_s.values())
    total += front.MEASURED * export_s + front_s + processes(front_s) * paces.start_s
    return total + (_RAY_S if search.workers > 1 else 0.0)


def _race(recipe: Recipe, paces: Paces) -> float:
    race, workers = recipe.race, recipe.search.workers
    last = min(race.finalists, workers)
    rounds = rungs(networks=race.networks, first_epochs=race.epochs, keep=race.keep, last=last)
    epochs = sum(-(-one.networks // workers) * one.epochs for one in rounds) + recipe.train.epochs
    return epochs * paces.alone_s + (_RAY_S if workers > 1 else 0.0)


def _compress(recipe: Recipe, paces: Paces, *, alone: bool) -> float:
    settings, each = recipe.compress, 0.0
    kinds = [step.kind for step in settings.steps]
    timed_s = 2 * compress.SECONDS_EACH  # the file before the step and that after it
    measuring_s = max(paces.export_s.values()) + timed_s + processes(timed_s) * paces.start_s + paces.run_s
    if not alone and "finetune" in kinds:
        each += settings.recovery.epochs * paces.further_s + measuring_s
    if not alone and "retrain" in kinds:
        each += recipe.train.epochs * paces.alone_s + measuring_s
    if alone and {"quantize", "quantize_aware"} & set(kinds):
        each += measuring_s
    networks = settings.networks if not alone else min(recipe.race.finalists, recipe.search.workers)
    return networks * each


def _export(recipe: Recipe, paces: Paces) -> float:
    networks = recipe.compress.networks + 1  # beside the largest
    measuring_s = together.SECONDS_EACH * networks
    each_s = max(paces.export_s.values()) + paces.run_s
    return networks * each_s + measuring_s + processes(measuring_s) * paces.start_s
