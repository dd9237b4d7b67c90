"""Stage 3: search the supernet under the latency limit, then look for the truth about what was found."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from compress.target import Target
from nas.costs.counts.analytic import AnalyticCosts
from nas.costs.model.latency import LatencyModel
from nas.search import Pool, Problem, SearchResult, SerialPool, search
from nas.search.feasible import Feasible
from nas.search.searchers import SearcherChoice, label, named
from nas.search.searchers.nsga2 import survivors
from nas.supernet import Supernet
from results.files import read_json, write_json
from results.front import hypervolume
from results.records import SearchSummary, Trial
from runners.console import Bar, Console
from runners.data.prepared import RunData
from runners.data.splits import stratified
from runners.pools.known import KnownScores
from runners.pools.ray_pool import RayPool
from runners.pools.ray_session import reach
from runners.recipe.part import Part
from runners.recipe.schema import Search
from runners.scoring.subnets import SubnetEvaluator, evaluator_of, worker_evaluator
from runners.stages.audit import audit_warning
from runners.stages.candidates import Candidates
from runners.stages.front import FrontLooker, measured_front, predictors_of, tell_front
from runners.targets.hardware import HardwareProfile, Limits
from runners.tasks import scoring_problem
from search_spaces.space import Arch, SearchSpace
from search_spaces.spaces.narrowed import lifting

CONTROL = "random"
OBJECTIVES = {"accuracy": "max", "latency_ms": "min"}
_HUNG_SECONDS = 600.0  # no evaluation takes this long; the worker is replaced
_QUIET_SECONDS = 1.0  # between two lines about a front that grows


@dataclass(frozen=True, slots=True, kw_only=True)
class Searching:
    """What a search works with.

    Attributes:
        name: name of the recipe; begins the names of the networks that are found.
        supernet: trained.
        data: its validation images are scored on.
        target: networks of the front are measured on it.
        limits: limits of its profile.
        costs: what is known of archs without scoring them.
        limit_ms: limit on the latency.
        recipe: the recipe's section.
        seed: seed of everything that draws.
        split_seed: seed of the split of the validation images; the run's own, so that scores are kept.
        run: the run's folder; trials go to ``search/``, scores are kept in ``train/``.
        console: console of the run.
    """

    name: str
    supernet: Supernet
    data: RunData
    target: Target
    limits: Limits
    costs: Candidates
    limit_ms: float
    recipe: Search
    seed: int
    split_seed: int
    run: Path
    console: Console

    @property
    def space(self) -> SearchSpace:
        """The space of the supernet."""
        return self.supernet.space

    @property
    def constraints(self) -> dict[str, float]:
        """Limits by the name of the cost: the latency's, and what the profile sets."""
        return constraints_of(self.limits, self.limit_ms)

    @property
    def problem(self) -> Problem:
        """What is searched."""
        return Problem(self.space, OBJECTIVES, self.constraints, self.costs)


def search_supernet(work: Searching) -> SearchSummary:
    """Searches; writes ``search/SEARCHER.jsonl`` as trials come and ``search/front.json`` at the end.

    Scores are kept beside the supernet, in ``train/scores.jsonl``: another search of the same supernet, under
    another limit or by another searcher, pays only for archs that were never scored.
    """
    recipe, console = work.recipe, work.console
    reach(recipe.ray_address)  # before anything that takes long
    if warning := audit_warning(work.run):
        console.warn(warning)
    evaluator, unseen = evaluators(work.supernet, work.data, recipe, work.split_seed)
    pool = _pool(work.space, evaluator, recipe)
    known = KnownScores(pool, work.run / "train" / "scores.jsonl", evaluator.fingerprint())
    try:
        if isinstance(pool, RayPool):
            pool.start()  # Ray takes seconds to come up; meanwhile the first archs are chosen
        first = _first(work, known)
        listed = ", ".join(dict.fromkeys([CONTROL, *map(str, recipe.searchers)]))
        console.say(
            f"limit {work.limit_ms:.4g} ms at {recipe.confidence:.0%} confidence"
            + (f" in {' or '.join(work.costs.models)}; " if len(work.costs.models) > 1 else "; ")
            + f"{recipe.budget} networks for each of {listed}"
            + (f"; {len(known.scores)} are scored already" if known.scores else "")
        )
        results: dict[str, SearchResult] = {}
        for name, searcher in searchers_of(recipe.searchers).items():
            control = results.get(CONTROL)
            results[name] = _search(work, name, searcher, known, first if control else [], control)
    finally:
        pool.close()
    _compare(results, console)
    reference = results[CONTROL].reference
    summary = measured_front(
        FrontLooker(
            name=work.name,
            supernet=work.supernet,
            target=work.target,
            costs=work.costs,
            seen=evaluator,
            unseen=unseen,
            limit_ms=work.limit_ms,
            confidence=recipe.confidence,
            console=console,
        ),
        results,
        reference=(reference["accuracy"], reference["latency_ms"]),
        known_first=len(first),
    )
    tell_front(summary, console, computed=work.target.facts.computed)
    write_json(work.run / "search" / "front.json", summary.to_json())
    return summary


def constraints_of(limits: Limits, limit_ms: float) -> dict[str, float]:
    """Limits by the name of the cost: the latency's, and what a profile sets."""
    constraints = {"latency_ms": limit_ms}
    for cost in ("params", "peak_memory_bytes", "size_bytes"):
        bound = getattr(limits, cost)
        if bound is not None:
            constraints[cost] = bound
    return constraints


def check_limits(space: SearchSpace, costs: Candidates, constraints: Mapping[str, float]) -> None:
    """Whether any network of the space meets the limits, which is known before it is trained.

    Raises:
        ValueError: none does, with a diagnosis.
    """
    Feasible(Problem(space, OBJECTIVES, constraints, costs))


def check_search(work: Searching) -> None:
    """Whether any network of the space meets the limits, and every searcher can search it.

    Raises:
        ValueError: none does, with a diagnosis; or what a searcher lacks.
    """
    for searcher in searchers_of(work.recipe.searchers).values():
        _, make = named(searcher)
        make(work.problem, 0)


def searchers_of(parts: Sequence[Part]) -> dict[str, SearcherChoice]:
    """The searchers by label, the control first: the others show how they compare with it."""
    return {
        CONTROL: CONTROL,
        **{label(part.kind, part.settings): (part.kind, part.settings) for part in parts},
    }


def candidates_of(
    space: SearchSpace,
    given: SearchSpace,
    models: Mapping[str, LatencyModel],
    profile: HardwareProfile,
    watts: float | None,
) -> Candidates:
    """What is known of the archs of a space on a target before they are scored.

    Args:
        space: the space that is searched.
        given: the space that was measured, of which it may be a part.
        models: latency model of each form.
        profile: the target's.
        watts: power that it draws; None where nobody knows.
    """
    return Candidates(
        models=models,
        lift=lifting(space, given),
        # A space that only builds would run each candidate for its memory: left out where nothing limits it.
        analytic=AnalyticCosts(
            space,
            peak_memory=profile.limits.peak_memory_bytes is not None,
        ),
        watts=watts,
    )


def evaluators(
    supernet: Supernet, data: RunData, recipe: Search, seed: int
) -> tuple[SubnetEvaluator, SubnetEvaluator | None]:
    """What the search scores with, and the same on validation images that are kept from it.

    None where the images are too few to keep any back, or to score both parts, or the recipe wants none kept.
    """
    whole = evaluator_of(supernet, data)
    labels = whole.labels.cpu().numpy()
    fraction = recipe.held_back
    if not fraction:
        return whole, None
    parts = stratified(labels, fraction, seed, len(data.classes))
    n = len(data.classes)
    if any(not len(one) or scoring_problem(data.task, torch.from_numpy(labels[one]), n) for one in parts):
        return whole, None

    def part(indices: NDArray[np.int64]) -> SubnetEvaluator:
        chosen = torch.from_numpy(indices)
        return replace(whole, images=whole.images[chosen], labels=whole.labels[chosen])

    seen, kept = parts
    return part(seen), part(kept)


def _pool(space: SearchSpace, evaluator: SubnetEvaluator, recipe: Search) -> Pool:
    """Ray workers; one worker without a cluster works in this process."""
    if recipe.workers == 1 and not recipe.ray_address:
        return SerialPool(evaluator)
    return RayPool(
        partial(worker_evaluator, space, evaluator.supernet.index, task=evaluator.task),
        evaluator.arrays(),
        workers=recipe.workers,
        address=recipe.ray_address or None,
        timeout_seconds=_HUNG_SECONDS,
    )


def _first(work: Searching, known: KnownScores) -> list[Arch]:
    """The best archs known from earlier searches that meet the limits: at most half the budget.

    Written down, so that a search that is continued begins with the same.
    """
    file, space = work.run / "search" / "first.json", work.space
    if file.exists():
        return list(read_json(file))
    archs: list[Arch] = [json.loads(key) for key in known.scores]
    if archs:
        rows = np.array([space.to_row(arch) for arch in archs])
        accuracy = np.array([scores["accuracy"] for scores in known.scores.values()])
        good = work.problem.admits(rows)
        rows, accuracy = rows[good], accuracy[good]
        if len(rows):
            points = np.column_stack([-accuracy, work.costs(rows)["latency_ms"]])
            best = survivors(points, work.recipe.budget // 2)[0]
            archs = [space.to_arch(row) for row in rows[best]]
        else:
            archs = []
    write_json(file, archs)
    return archs


def _search(
    work: Searching,
    name: str,
    searcher: SearcherChoice,
    pool: Pool,
    first: Sequence[Arch],
    control: SearchResult | None,
) -> SearchResult:
    with work.console.progress(f"search with {name}") as bar:
        return search(
            work.space,
            objectives=OBJECTIVES,
            budget=work.recipe.budget,
            constraints=work.constraints,
            costs=work.costs,
            searcher=searcher,
            seed=work.seed,
            pool=pool,
            log=work.run / "search" / f"{name}.jsonl",
            on_trial=_Live(work.console, name, bar, control),
            first=first,
            reference=None if control is None else control.reference,
        )


class _Live:
    """Shows a search as it goes: the bar at every trial, a line when the front has grown."""

    def __init__(self, console: Console, name: str, bar: Bar, control: SearchResult | None) -> None:
        self._console, self._name, self._bar, self._control = console, name, bar, control
        self._began, self._first = time.monotonic(), 0
        self._spoke, self._tickets = self._began, frozenset[int]()

    def __call__(self, done: int, budget: int, trial: Trial, front: Sequence[Trial]) -> None:
        now = time.monotonic()
        if not self._first:
            self._first, self._began = done, now
        best = max((t.numbers["accuracy"] for t in front), default=0.0)
        note = f"front of {len(front)}, best {best:.1%}{self._beside(done, front)}"
        self._bar.update(done, budget, note)
        tickets = frozenset(t.ticket for t in front)
        if tickets == self._tickets or now - self._spoke < _QUIET_SECONDS:
            return
        self._tickets, self._spoke = tickets, now
        took = (now - self._began) / (done - self._first) if done > self._first else 0.0
        left = f"; {took * (budget - done):.0f} s left" if took else ""
        joined = (
            f"{trial.numbers['accuracy']:.1%} in {trial.numbers['latency_ms']:.4g} ms joins a "
            if trial.ticket in tickets
            else ""
        )
        self._console.say(f"  {self._name} {done}/{budget}: {joined}{note}{left}")

    def _beside(self, done: int, front: Sequence[Trial]) -> str:
        """The hypervolume as a multiple of what random search had after as many trials."""
        if self._control is None:
            return ""
        points = [(-t.numbers["accuracy"], t.numbers["latency_ms"]) for t in front]
        reference, curve = self._control.reference, self._control.hypervolume
        corner = (-reference["accuracy"], reference["latency_ms"])
        volume = hypervolume(np.array(points).reshape(-1, 2), corner)
        control = curve[min(done, len(curve)) - 1]
        return f", hypervolume {volume / control:.2f} x {CONTROL}'s" if control > 0 else ""


def _compare(results: dict[str, SearchResult], console: Console) -> None:
    control = results[CONTROL].hypervolume
    for name, result in results.items():
        trials = len(result.trials)
        failed = int((result.trials["status"] != "ok").sum())
        best = result.front["accuracy"].max() if len(result.front) else float("nan")
        beside = control[min(trials, len(control)) - 1]
        volume = result.hypervolume[-1]
        console.say(
            f"{name}: front of {len(result.front)}, best {best:.1%} on validation"
            + (
                f", hypervolume {volume / beside:.2f} x {CONTROL}'s after as many networks"
                if beside > 0 and name != CONTROL
                else ""
            )
            + (f"; {failed} of {trials} evaluations failed" if failed else "")
        )
    for quality in predictors_of(results):
        console.say(quality.summary())
