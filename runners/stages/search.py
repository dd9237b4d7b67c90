"""Stage 3: search the supernet under the latency limit, and measure the front again on the device."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from nas.costs.analytic import AnalyticCosts
from nas.costs.latency import LatencyModel
from nas.costs.profiling import Profiled
from nas.search import Outcome, Pool, SearchResult, search
from nas.search.trials import Trial
from results.card import COMPUTED
from results.files import write_json
from results.front import non_dominated
from results.records import FrontEntry, LayerRecord, SearchSummary
from runners.evaluator import worker_evaluator
from runners.pools.ray_pool import RayPool
from runners.stages.job import Job
from search_spaces.choice import Value
from search_spaces.space import Arch, Rows

CONTROL = "random"
_MEASURED = 12  # networks of the joint front that are exported and measured again
_SECONDS_EACH = 1.0
_HUNG_SECONDS = 600.0  # no evaluation takes this long; the worker is replaced

Costs = Callable[[Rows], dict[str, NDArray[np.float64]]]


def run_search(job: Job) -> None:
    """Searches; writes ``search/SEARCHER.jsonl`` as trials come and ``search/front.json`` at the end."""
    recipe = job.recipe.search
    pool = RayPool(
        partial(worker_evaluator, job.space, job.supernet.index),
        job.evaluator(job.supernet).arrays(),
        workers=recipe.workers,
        address=recipe.ray_address or None,
        timeout_seconds=_HUNG_SECONDS,
    )
    results: dict[str, SearchResult] = {}
    with pool:
        pool.start()  # Ray takes seconds to come up; meanwhile the costs are made ready
        profiled = job.profiled(lambda done, total, left: None)  # the table is whole; nothing is measured
        limit_ms = latency_limit(job, profiled)
        costs = Candidates(
            model=profiled.model,
            analytic=AnalyticCosts(job.space),
            value_bytes=1 if job.precision == "int8" else 4,
            watts=job.profile.machine.watts,
        )
        job.console.say(
            f"limit {limit_ms:.4g} ms at {recipe.confidence:.0%} confidence; "
            f"{recipe.budget} networks for each of {', '.join([*recipe.searchers, CONTROL])}"
        )
        for name in (*recipe.searchers, CONTROL):
            results[name] = _search(job, name, costs, limit_ms, _KeptOpen(pool))
    _compare(job, results)
    summary = _measure_front(job, results, costs, limit_ms)
    write_json(job.path / "search" / "front.json", summary.to_json())


def latency_limit(job: Job, profiled: Profiled) -> float:
    """The limit in ms: as given, or the largest network's predicted latency over the speed-up wanted."""
    recipe = job.recipe.search
    if recipe.latency_ms is not None:
        return recipe.latency_ms
    assert recipe.speedup is not None  # the recipe has one of the two
    largest = job.space.to_row(job.space.largest())[None]
    return float(profiled.model.latency_ms(largest)[0]) / recipe.speedup


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """What is known of archs without scoring them.

    Attributes:
        model: of latency.
        analytic: counts; its bytes are those of float32.
        value_bytes: of a weight or activation as deployed: 1 where the device runs int8 alone.
        watts: that the device draws; None where nobody knows.
    """

    model: LatencyModel
    analytic: AnalyticCosts
    value_bytes: int = 4
    watts: float | None = None

    def __call__(self, rows: Rows) -> dict[str, NDArray[np.float64]]:
        """Costs by name, (n,) each; ``latency_ms_upper`` is what limits hold for."""
        latency_ms, upper_ms = self.model.predict(rows)
        costs = {"latency_ms": latency_ms, "latency_ms_upper": upper_ms, **self.analytic(rows)}
        for name in costs.keys() & {"size_bytes", "peak_memory_bytes"}:
            costs[name] = costs[name] * self.value_bytes / 4
        return costs if self.watts is None else {**costs, "energy_mj": latency_ms * self.watts}


class _KeptOpen:
    """A pool that several searches use in turn: closing it is left to whoever opened it."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.capacity = pool.capacity

    def submit(self, ticket: int, arch: Arch) -> None:
        self._pool.submit(ticket, arch)

    def next(self) -> Outcome:
        return self._pool.next()

    def close(self) -> None:
        pass


def _search(job: Job, name: str, costs: Costs, limit_ms: float, pool: Pool) -> SearchResult:
    recipe = job.recipe.search
    limits = job.target.profile.limits
    constraints = {"latency_ms": limit_ms}
    for cost in ("params", "peak_memory_bytes", "size_bytes"):
        bound = getattr(limits, cost)
        if bound is not None:
            constraints[cost] = bound
    with job.console.progress(f"search with {name}") as bar:

        def on_trial(done: int, budget: int, trial: Trial, front: Sequence[Trial]) -> None:
            del trial
            best = max((t.numbers["accuracy"] for t in front), default=0.0)
            bar.update(done, budget, f"front of {len(front)}, best {best:.1%}")

        return search(
            job.space,
            objectives={"accuracy": "max", "latency_ms": "min"},
            budget=recipe.budget,
            constraints=constraints,
            costs=costs,
            searcher=name,
            seed=job.recipe.seed if recipe.seed is None else recipe.seed,
            pool=pool,
            log=job.path / "search" / f"{name}.jsonl",
            on_trial=on_trial,
        )


def _compare(job: Job, results: dict[str, SearchResult]) -> None:
    control = results[CONTROL].hypervolume[-1]
    for name, result in results.items():
        failed = int((result.trials["status"] != "ok").sum())
        best = result.front["accuracy"].max() if len(result.front) else float("nan")
        job.console.say(
            f"{name}: front of {len(result.front)}, best {best:.1%} on validation, hypervolume "
            f"{result.hypervolume[-1] / control:.3f} of random search's"
            + (f"; {failed} evaluations failed" if failed else "")
        )


def _measure_front(
    job: Job, results: dict[str, SearchResult], costs: Candidates, limit_ms: float
) -> SearchSummary:
    """The joint front of all searches and the largest network, exported and measured side by side."""
    archs = _joint_front(results)
    found = [*archs, ("largest", job.space.largest())]
    rows = np.array([job.space.to_row(arch) for _, arch in found])
    known = costs(rows)
    evaluator = job.evaluator(job.supernet)
    computed = job.target.identity().runtime == COMPUTED
    job.console.say(
        f"{'computing' if computed else 'measuring'} the {len(archs)} networks of the front again, and the "
        "largest"
    )
    timings = job.target.measure(
        [
            job.target.export(job.supernet.extract(arch).eval(), job.space.input_shape(arch), job.precision)
            for _, arch in found
        ],
        budget_s=_SECONDS_EACH * len(found),
    )
    entries = []
    for index, ((searcher, arch), timing) in enumerate(zip(found, timings, strict=True)):
        if timing.status != "measured":
            raise ValueError(f"a network of the front does not run on the device: {timing.reason}")
        entries.append(
            FrontEntry(
                name="largest" if index == len(archs) else f"{job.recipe.name}-{index + 1}",
                arch=dict(arch),
                searcher=searcher,
                accuracy=evaluator(arch)["accuracy"],
                predicted_ms=float(known["latency_ms"][index]),
                upper_ms=float(known["latency_ms_upper"][index]),
                measured_ms=timing.median_ms,
                low_ms=timing.low_ms,
                high_ms=timing.high_ms,
                macs=int(known["macs"][index]),
                params=int(known["params"][index]),
                meets_limit=timing.median_ms <= limit_ms,
                layers=_layer_records(job, arch, costs),
            )
        )
    *front, largest = entries
    reference = results[CONTROL].reference
    return SearchSummary(
        limit_ms=limit_ms,
        confidence=job.recipe.search.confidence,
        reference=(reference["accuracy"], reference["latency_ms"]),
        front=tuple(front),
        largest=largest,
    )


def _layer_records(job: Job, arch: Arch, costs: Candidates) -> tuple[LayerRecord, ...]:
    """The layers of an arch with what each costs alone; none where the space has only networks."""
    if not job.space.slots:
        return ()
    alone = dict(zip(costs.model.layers.keys, costs.model.layer_ms.tolist(), strict=True))
    return tuple(
        LayerRecord(
            name=layer.name,
            kind=layer.kind,
            sizes=dict(layer.sizes),
            output_shape=layer.output_shape,
            latency_ms=alone[layer.key] if math.isfinite(alone[layer.key]) else None,
        )
        for layer in job.space.lower(arch)
    )


def _joint_front(results: dict[str, SearchResult]) -> list[tuple[str, dict[str, Value]]]:
    """Who found it and what, fastest first; thinned evenly where there are too many to measure."""
    found = [
        (name, arch, float(latency), float(accuracy))
        for name, result in results.items()
        for arch, latency, accuracy in zip(
            result.archs, result.front["latency_ms"], result.front["accuracy"], strict=True
        )
    ]
    points = np.array([(latency, -accuracy) for _, _, latency, accuracy in found])
    front = [found[i] for i in np.flatnonzero(non_dominated(points))]
    unique = list({tuple(sorted(arch.items())): (name, arch, ms) for name, arch, ms, _ in front}.values())
    unique.sort(key=lambda entry: entry[2])
    chosen = np.unique(np.linspace(0, len(unique) - 1, min(_MEASURED, len(unique))).round().astype(int))
    return [(unique[i][0], unique[i][1]) for i in chosen]
