"""Stage 3: search the supernet under the latency limit, then look for the truth about what was found."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from nas.costs.counts.analytic import AnalyticCosts
from nas.search import Pool, Problem, SearchResult, SerialPool, search
from nas.search.searcher import MakeSearcher, searcher
from nas.search.searchers.nsga2 import survivors
from results.files import read_json, write_json
from results.front import hypervolume
from results.records import Trial
from runners.cli.console import Bar
from runners.data.splits import stratified
from runners.pools.known import KnownScores
from runners.pools.ray_pool import RayPool
from runners.pools.ray_session import reach
from runners.recipe.part import Part
from runners.run.job import Job
from runners.scoring.subnets import SubnetEvaluator, worker_evaluator
from runners.stages.audit import audit_warning
from runners.stages.candidates import Candidates, latency_limit
from runners.stages.front import measured_front, tell_front
from search_spaces.space import Arch

CONTROL = "random"
OBJECTIVES = {"accuracy": "max", "latency_ms": "min"}
_HUNG_SECONDS = 600.0  # no evaluation takes this long; the worker is replaced
_QUIET_SECONDS = 1.0  # between two lines about a front that grows


def run_search(job: Job) -> None:
    """Searches; writes ``search/SEARCHER.jsonl`` as trials come and ``search/front.json`` at the end.

    Scores are kept beside the supernet, in ``train/scores.jsonl``: another search of the same supernet, under
    another limit or by another searcher, pays only for archs that were never scored.
    """
    recipe = job.recipe.search
    reach(recipe.ray_address)  # before anything that takes long
    if warning := audit_warning(job.path):
        job.console.warn(warning)
    evaluator, unseen = evaluators(job)
    pool = _pool(job, evaluator)
    known = KnownScores(pool, job.path / "train" / "scores.jsonl", evaluator.fingerprint())
    try:
        if isinstance(pool, RayPool):
            pool.start()  # Ray takes seconds to come up; meanwhile the costs are made ready
        costs, limit_ms = _costs(job)
        first = _first(job, costs, limit_ms, known)
        job.console.say(
            f"limit {limit_ms:.4g} ms at {recipe.confidence:.0%} confidence; "
            f"{recipe.budget} networks for each of {', '.join([CONTROL, *map(str, recipe.searchers)])}"
            + (f"; {len(known.scores)} are scored already" if known.scores else "")
        )
        results: dict[str, SearchResult] = {}
        for name, make in _searchers(recipe.searchers).items():
            control = results.get(CONTROL)
            results[name] = _search(
                job, name, make, costs, limit_ms, known, first if control else [], control
            )
    finally:
        pool.close()
    _compare(job, results)
    reference = results[CONTROL].reference
    summary = measured_front(
        job,
        results,
        costs,
        (evaluator, unseen),
        limit_ms=limit_ms,
        reference=(reference["accuracy"], reference["latency_ms"]),
        known_first=len(first),
    )
    tell_front(job, summary)
    write_json(job.path / "search" / "front.json", summary.to_json())


def check_search(job: Job) -> None:
    """Whether any network of the space meets the limits, and every searcher can search it.

    Raises:
        ValueError: none does, with a diagnosis; or what a searcher lacks.
    """
    costs, limit_ms = _costs(job)
    problem = Problem(job.space, OBJECTIVES, _constraints(job, limit_ms), costs)
    for name, make in _searchers(job.recipe.search.searchers).items():
        (searcher(name) if isinstance(make, str) else make)(problem, 0)


def _searchers(parts: Sequence[Part]) -> dict[str, str | MakeSearcher]:
    """The searchers by name, the control first: the others show how they compare with it."""
    made: dict[str, str | MakeSearcher] = {CONTROL: CONTROL}
    for part in parts:
        make = searcher(part.kind)
        made[part.kind] = partial(make, **part.settings) if part.settings else part.kind
    return made


def _costs(job: Job) -> tuple[Candidates, float]:
    """What is known of archs before they are scored, and the limit on their latency in ms."""
    profiled = job.profiled(lambda done, total, left: None)  # the table is whole; nothing is measured
    costs = Candidates(
        model=profiled.model,
        analytic=AnalyticCosts(job.space, peak_memory=_peak_memory_matters(job)),
        value_bytes=1 if job.precision == "int8" else 4,
        watts=job.watts,
    )
    return costs, latency_limit(job, profiled)


def evaluators(job: Job) -> tuple[SubnetEvaluator, SubnetEvaluator | None]:
    """What the search scores with, and the same on validation images that are kept from it.

    None where the images are too few to keep any back, or the recipe wants none kept.
    """
    whole = job.evaluator(job.supernet)
    labels = whole.labels.numpy()
    fraction = job.recipe.search.held_back
    if not fraction:
        return whole, None
    seen, kept = stratified(labels, fraction, job.recipe.seed, len(job.splits.classes))
    if not len(kept) or not len(seen):
        return whole, None

    def part(indices: NDArray[np.int64]) -> SubnetEvaluator:
        chosen = torch.from_numpy(indices)
        return replace(whole, images=whole.images[chosen], labels=whole.labels[chosen])

    return part(seen), part(kept)


def _pool(job: Job, evaluator: SubnetEvaluator) -> Pool:
    """Ray workers; one worker without a cluster works in this process."""
    recipe = job.recipe.search
    if recipe.workers == 1 and not recipe.ray_address:
        return SerialPool(evaluator)
    return RayPool(
        partial(worker_evaluator, job.space, evaluator.supernet.index),
        evaluator.arrays(),
        workers=recipe.workers,
        address=recipe.ray_address or None,
        timeout_seconds=_HUNG_SECONDS,
    )


def _constraints(job: Job, limit_ms: float) -> dict[str, float]:
    limits = job.target.profile.limits
    constraints = {"latency_ms": limit_ms}
    for cost in ("params", "peak_memory_bytes", "size_bytes"):
        bound = getattr(limits, cost)
        if bound is not None:
            constraints[cost] = bound
    return constraints


def _peak_memory_matters(job: Job) -> bool:
    """A space that only builds would run each candidate for it, so it is left out where nothing limits it."""
    return bool(job.space.slots) or job.target.profile.limits.peak_memory_bytes is not None


def _first(job: Job, costs: Candidates, limit_ms: float, known: KnownScores) -> list[Arch]:
    """The best archs known from earlier searches that meet the limits: at most half the budget.

    Written down, so that a search that is continued begins with the same.
    """
    file = job.path / "search" / "first.json"
    if file.exists():
        return list(read_json(file))
    archs: list[Arch] = [json.loads(key) for key in known.scores]
    if archs:
        problem = Problem(job.space, OBJECTIVES, _constraints(job, limit_ms), costs)
        rows = np.array([job.space.to_row(arch) for arch in archs])
        accuracy = np.array([scores["accuracy"] for scores in known.scores.values()])
        good = problem.admits(rows)
        rows, accuracy = rows[good], accuracy[good]
        if len(rows):
            points = np.column_stack([-accuracy, costs(rows)["latency_ms"]])
            best = survivors(points, job.recipe.search.budget // 2)[0]
            archs = [job.space.to_arch(row) for row in rows[best]]
        else:
            archs = []
    write_json(file, archs)
    return archs


def _search(
    job: Job,
    name: str,
    make: str | MakeSearcher,
    costs: Candidates,
    limit_ms: float,
    pool: Pool,
    first: Sequence[Arch],
    control: SearchResult | None,
) -> SearchResult:
    recipe = job.recipe.search
    with job.console.progress(f"search with {name}") as bar:
        return search(
            job.space,
            objectives=OBJECTIVES,
            budget=recipe.budget,
            constraints=_constraints(job, limit_ms),
            costs=costs,
            searcher=make,
            seed=job.recipe.seed if recipe.seed is None else recipe.seed,
            pool=pool,
            log=job.path / "search" / f"{name}.jsonl",
            on_trial=_Live(job, name, bar, control),
            first=first,
            reference=None if control is None else control.reference,
        )


class _Live:
    """Shows a search as it goes: the bar at every trial, a line when the front has grown."""

    def __init__(self, job: Job, name: str, bar: Bar, control: SearchResult | None) -> None:
        self._job, self._name, self._bar, self._control = job, name, bar, control
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
        self._job.console.say(f"  {self._name} {done}/{budget}: {joined}{note}{left}")

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


def _compare(job: Job, results: dict[str, SearchResult]) -> None:
    control = results[CONTROL].hypervolume
    for name, result in results.items():
        trials = len(result.trials)
        failed = int((result.trials["status"] != "ok").sum())
        best = result.front["accuracy"].max() if len(result.front) else float("nan")
        beside = control[min(trials, len(control)) - 1]
        volume = result.hypervolume[-1]
        job.console.say(
            f"{name}: front of {len(result.front)}, best {best:.1%} on validation"
            + (
                f", hypervolume {volume / beside:.2f} x {CONTROL}'s after as many networks"
                if beside > 0 and name != CONTROL
                else ""
            )
            + (f"; {failed} of {trials} evaluations failed" if failed else "")
        )
