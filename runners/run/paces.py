"""What the pieces of a run take, from a few of each: what a forecast is made of."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from compress.target import Target
from nas.costs.counts.analytic import AnalyticCosts
from nas.costs.counts.sizes import macs_of
from nas.costs.layers.probes import Probe
from nas.costs.layers.sums import layers_of
from nas.costs.model.fit import MeasurePlan
from nas.rules.moment import Size
from nas.search import search
from nas.search.searchers import SearcherChoice
from nas.supernet import Supernet
from runners.data.prepared import RunData
from runners.recipe.schema import Recipe
from runners.run.narrowing import LARGEST
from runners.scoring.subnets import evaluator_of
from runners.stages.forecast import Paces
from runners.stages.search import OBJECTIVES, searchers_of
from runners.stages.teachers import Teachers
from runners.stages.train import rule_of, train_settings, training_data
from runners.stages.trainings import finetune_settings
from runners.training.finetuning import finetuning_pace
from runners.training.pace import seconds_per_epoch
from search_spaces.space import Arch, Rows, SearchSpace
from search_spaces.spaces.narrowed import narrowed

_DRAWN = 2000  # archs by which it is seen what a limit leaves
_STEPS, _STEPS_S = 4, 1.0  # of a training
_LAYERS = 4  # that are exported
_MEASURED_S = 0.2
_ASKED, _ASKED_S = 30, 1.0  # proposals of a searcher, and seconds for them


class _Enough(Exception):
    """The proposals asked for are timed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pacing:
    """What paces are measured with.

    Attributes:
        space: space as the recipe names it.
        data: data of the run.
        target: target that files are made for.
        forms: number formats that networks may be handed over in.
        plan: how much of the target is measured.
        recipe: recipe of the run.
        device: device to train on.
        clock: seconds, monotonic.
    """

    space: SearchSpace
    data: RunData
    target: Target
    forms: Sequence[str]
    plan: MeasurePlan
    recipe: Recipe
    device: torch.device
    clock: Callable[[], float] = time.perf_counter


def paces_of(work: Pacing) -> Paces:
    """Runs a few of each piece, some seconds in all; nothing is kept.

    Raises:
        ValueError: what any of them raises: a first look has shown that they work.
    """
    space, recipe = work.space, work.recipe
    arch = space.to_arch(space.sample(1, np.random.default_rng([recipe.seed, 2]))[0])
    with TemporaryDirectory(prefix="quarry-") as folder:
        files = _files(work, arch, Path(folder))
        export_s = {form: took for form, (_, took) in files.items()}
        probes = [] if recipe.search.ranking == "alone" else layers_of(space, work.plan.seed).probes
        layer_s = _layer_s(work, probes, Path(folder)) if probes else 0.0
        first = files[work.forms[0]][0]
        # Twice: another run may hold the device at one of these times.
        measured_s = min(
            _seconds(work, lambda: work.target.measure([first], budget_s=_MEASURED_S)) for _ in range(2)
        )
        images = work.data.images(work.data.splits.val).numpy()
        run_s = _seconds(work, lambda: work.target.run(first, images))
        size = macs_of(AnalyticCosts(space), seed=recipe.seed)
        bound = _limit_macs(work, size, first, arch)
    near = trained_part(space, size, bound, seed=recipe.seed)
    small = near.to_arch(near.sample(1, np.random.default_rng(recipe.seed))[0])
    network = Supernet(near.only(small), seed=recipe.seed, device=work.device)
    data, settings = training_data(work.data, recipe.train, work.device), train_settings(recipe.train)
    alone_s = seconds_per_epoch(network, data, settings, steps=_STEPS, budget_s=_STEPS_S)
    found = Paces(
        export_s=export_s,
        layers=len(probes),
        layer_s=layer_s,
        start_s=max(0.0, measured_s - _MEASURED_S),
        alone_s=alone_s,
        run_s=run_s,
    )
    if recipe.search.ranking == "alone":
        return found
    supernet = Supernet(near, seed=recipe.seed, device=work.device)
    size = macs_of(AnalyticCosts(near), seed=recipe.seed)
    evaluator = evaluator_of(supernet, work.data)
    further = finetune_settings(recipe, 1)
    teachers = Teachers(
        settings=recipe.compress.recovery, largest=supernet.extract(near.largest()), device=work.device
    )
    student = supernet.extract(small)
    return replace(
        found,
        epoch_s=seconds_per_epoch(
            supernet,
            data,
            settings,
            rule=rule_of(recipe.train, near),
            size=size if recipe.train.sampling == "size" else None,
            steps=_STEPS,
            budget_s=_STEPS_S,
        ),
        score_s=_seconds(work, lambda: evaluator(small)),
        ask_s={
            name: _ask_s(work, near, size, one) for name, one in searchers_of(recipe.search.searchers).items()
        },
        further_s=finetuning_pace(student, data, further, taught=teachers.of(student), seed=recipe.seed),
    )


def _seconds(work: Pacing, piece: Callable[[], object]) -> float:
    began = work.clock()
    piece()
    return work.clock() - began


def _files(work: Pacing, arch: Arch, folder: Path) -> dict[str, tuple[Path, float]]:
    """A network's file in each form, and what exporting it took."""
    found = {}
    for form in work.forms:
        file = folder / f"{form}.{work.target.facts.format}"
        network, shape = work.space.build(arch).eval(), work.space.input_shape(arch)
        found[form] = file, _seconds(work, partial(work.target.export, network, shape, file, precision=form))
    return found


def _layer_s(work: Pacing, probes: Sequence[Probe], folder: Path) -> float:
    """Seconds to export a layer or chain: the mean of a few that the target takes."""
    file, took = folder / f"layer.{work.target.facts.format}", []
    for place in np.linspace(0, len(probes) - 1, _LAYERS).round().astype(int):
        one = probes[place]
        began = work.clock()
        try:
            work.target.export(one.make().eval(), one.input_shape, file)
        except Exception:  # a kind of layer that the target does not take costs its line
            continue
        took.append(work.clock() - began)
    return float(np.mean(took)) if took else 0.0


def _limit_macs(work: Pacing, size: Size, file: Path, arch: Arch) -> float:
    """Multiply-accumulates of networks at the limit, roughly: their number for a time is that of one network,
    whose file and arch are given."""
    given = work.recipe.search
    if given.latency_ms is None:
        assert given.speedup is not None  # one of them is given
        return _macs(work.space, work.space.largest(), size) / given.speedup
    timing = work.target.measure([file], budget_s=_MEASURED_S)[0]
    return _macs(work.space, arch, size) * given.latency_ms / timing.median_ms


def _macs(space: SearchSpace, arch: Arch, size: Size) -> float:
    return float(size(space.to_row(arch)[None])[0])


def trained_part(space: SearchSpace, size: Size, bound: float, *, seed: int) -> SearchSpace:
    """About what a run will leave of a space for a limit: see ``fix_space``.

    Args:
        space: space as the recipe names it.
        size: multiply-accumulates of its archs.
        bound: multiply-accumulates of networks at the limit.
        seed: seed of the draw of the archs that it is seen by.
    """
    if not space.slots:
        return space
    rows = space.sample(_DRAWN, np.random.default_rng(seed))
    macs = size(rows)
    under = rows[macs <= bound]
    if not len(under):
        return space
    places = [np.unique(column) for column in under.T]
    kept = {
        choice.name: tuple(choice.values[place] for place in found)
        for choice, found in zip(space.choices, places, strict=True)
        if len(found) < len(choice.values)
    }
    part = narrowed(space, kept)
    if _macs(space, part.largest(), size) <= LARGEST * bound:
        return part
    inside = np.all([np.isin(column, found) for column, found in zip(rows.T, places, strict=True)], axis=0)
    there = np.flatnonzero(inside & (macs <= LARGEST * bound))
    return narrowed(space, kept, reference=space.to_arch(rows[there[macs[there].argmax()]]))


def _ask_s(work: Pacing, space: SearchSpace, size: Size, searcher: SearcherChoice) -> float:
    """Seconds in which a searcher proposes a network, told made-up accuracies that grow with the networks."""
    largest, rng = _macs(space, space.largest(), size), np.random.default_rng(work.recipe.seed)
    ends = [work.clock()]

    def costs(rows: Rows) -> dict[str, Any]:
        return {"latency_ms": size(rows) / largest}

    def evaluate(arch: Arch) -> Mapping[str, float]:
        return {"accuracy": float((_macs(space, arch, size) / largest) ** 0.1 + 0.01 * rng.standard_normal())}

    def on_trial(done: int, *_: object) -> None:
        ends.append(work.clock())
        if done >= _ASKED or ends[-1] - ends[0] > _ASKED_S:
            raise _Enough

    with contextlib.suppress(_Enough):
        search(
            space,
            evaluate,
            objectives=OBJECTIVES,
            costs=costs,
            budget=work.recipe.search.budget,  # which a recipe's check holds against the searcher
            searcher=searcher,
            seed=work.recipe.seed,
            on_trial=on_trial,
        )
    each = np.diff(ends)
    return float(each[len(each) // 2 :].mean())
