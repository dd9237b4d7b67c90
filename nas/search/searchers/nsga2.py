"""NSGA-II over rows of integers, vectorised.

"A fast and elitist multiobjective genetic algorithm: NSGA-II" (Deb et al., 2002). Different here: uniform
crossover and mutation by choice, since archs are no real vectors; archs that break a limit are repaired
before they are scored, so none of the population breaks one; no arch is scored twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nas.search.feasible import Feasible, Proposals
from nas.search.objectives import Scores
from nas.search.problem import Problem
from nas.search.searchers.searcher import Searcher
from results.front import crowding, ranks
from search_spaces.space import Rows, SearchSpace


class Nsga2(Searcher):
    """NSGA-II that breeds from whatever is scored when it is asked, so that slow evaluations hold nothing up.

    Args:
        problem: problem to search.
        seed: seed of every random decision.
        population: parents kept, and children bred at a time; the least budget.

    Example:
        >>> from nas.search import contract, search
        >>> found = search(
        ...     contract.small_space(),
        ...     contract.small_accuracy,
        ...     objectives={"accuracy": "max", "latency_ms": "min"},
        ...     constraints={"latency_ms": 6.0},
        ...     costs=contract.small_costs,
        ...     budget=40,
        ...     searcher=("nsga2", {"population": 10}),
        ... )
        >>> len(found.trials), len(found.front) > 1
        (40, True)
    """

    def __init__(self, problem: Problem, seed: int, *, population: Annotated[int, Field(ge=2)] = 24) -> None:
        if population < 2:
            raise ValueError(f"a population has at least 2 archs, got {population}")
        self._problem = problem
        self._rng = np.random.default_rng(seed)
        self._feasible = Feasible(problem)
        self._proposals = Proposals(self._feasible)
        self.population = population
        self._brood = self._proposals.draw(population, self._rng)
        self._rows = self._brood[:0]
        self._scores: Scores = np.empty((0, len(problem.objectives)))

    def ask(self, n: int) -> Rows:
        if not len(self._brood):
            self._brood = self._breed()
        asked, self._brood = self._brood[:n], self._brood[n:]
        return asked

    def tell(self, rows: Rows, scores: Scores) -> None:
        self._proposals.mark(rows)
        good = ~np.isnan(scores).any(axis=1)
        self._rows = np.vstack([self._rows, rows[good]])
        self._scores = np.vstack([self._scores, scores[good]])

    def _breed(self) -> Rows:
        """The next children: of the best so far where there are two, random until then."""
        if len(self._rows) < 2:
            return self._proposals.draw(self.population, self._rng)
        excess = self._problem.excess(self._scores)
        kept, rank, distance = survivors(self._scores, self.population, excess)
        self._rows, self._scores = self._rows[kept], self._scores[kept]
        for _ in range(10):
            children = offspring(self._problem.space, self._rows, rank, distance, self.population, self._rng)
            children = self._feasible.repair(children, self._rng)
            children = children[self._proposals.unseen(children)]
            if len(children):
                self._proposals.mark(children)
                return children
        return self._proposals.draw(self.population, self._rng)


def survivors(
    scores: Scores, size: int, excess: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """The best of a population by front, then by crowding.

    Args:
        scores: minimised scores, (n, n objectives).
        size: number of survivors.
        excess: amount by which each breaks a limit, (n,); all that break none come first.

    Returns:
        Their indices, ranks and crowding distances, each (min(n, size),).
    """
    rank = ranks(scores)
    if excess is not None and (excess > 0).any():
        broken = excess > 0
        rank[~broken] = ranks(scores[~broken])
        rank[broken] = rank[~broken].max(initial=-1) + 1 + np.unique(excess[broken], return_inverse=True)[1]
    distance = crowding(scores, rank)
    kept = np.lexsort((-distance, rank))[:size]
    return kept, rank[kept], distance[kept]


def offspring(
    space: SearchSpace,
    rows: Rows,
    rank: NDArray[np.int64],
    distance: NDArray[np.float64],
    n: int,
    rng: np.random.Generator,
) -> Rows:
    """n canonical children of parents that won a tournament of two, crossed and mutated, (n, n choices)."""
    pairs = rng.integers(len(rows), size=(2, 2 * n))
    first, second = pairs
    better = (rank[first] < rank[second]) | (
        (rank[first] == rank[second]) & (distance[first] >= distance[second])
    )
    parents = rows[np.where(better, first, second)]
    children = space.crossover(parents[:n], parents[n:], rng)
    uncrossed = rng.random(n) < 0.1
    children[uncrossed] = parents[:n][uncrossed]
    return space.mutate(children, rng, rate=1.0 / max(1, len(space.choices)))


def evolve(
    feasible: Feasible,
    score: Callable[[Rows], Scores],
    start: Rows,
    rng: np.random.Generator,
    *,
    population: int = 1000,
    generations: int = 20,
) -> tuple[Rows, Scores]:
    """NSGA-II where scoring is cheap: on costs and a fitted predictor, whole generations at a time.

    No arch is scored twice; they are told apart by a 64-bit hash of their canonical row.

    Args:
        feasible: limits, and the repair of archs that break them.
        score: canonical rows to minimised scores, (n, n objectives).
        start: archs to start from, (any number, n choices); samples fill the population up.
        rng: generator of every random decision.
        population: parents kept, and children bred at a time.
        generations: number of generations.

    Returns:
        The last population and its scores, best first.
    """
    space = feasible.problem.space
    weights = _hash_weights(len(space.choices))
    rows = np.vstack([start, feasible.sample(max(population - len(start), 0), rng)])
    seen = np.empty(0, dtype=np.uint64)
    rows, seen = _new(rows, seen, weights)
    scores = score(rows)
    for _ in range(generations):
        kept, rank, distance = survivors(scores, population)
        rows, scores = rows[kept], scores[kept]
        children = offspring(space, rows, rank, distance, population, rng)
        children, seen = _new(feasible.repair(children, rng), seen, weights)
        if len(children):
            rows, scores = np.vstack([rows, children]), np.vstack([scores, score(children)])
    kept, _, _ = survivors(scores, population)
    return rows[kept], scores[kept]


def _hash_weights(columns: int) -> NDArray[np.uint64]:
    odd = np.random.default_rng(0).integers(0, 2**63, size=columns, dtype=np.uint64)
    return odd * np.uint64(2) + np.uint64(1)


def _new(
    rows: Rows, seen: NDArray[np.uint64], weights: NDArray[np.uint64]
) -> tuple[Rows, NDArray[np.uint64]]:
    """The rows whose hash is not among the seen, without repeats, and the seen with theirs, sorted."""
    keys, first = np.unique(
        (rows.astype(np.uint64) * weights).sum(axis=1, dtype=np.uint64), return_index=True
    )
    at = np.searchsorted(seen, keys)
    known = at < len(seen)
    known[known] = seen[at[known]] == keys[known]
    fresh = ~known
    return rows[np.sort(first[fresh])], np.insert(seen, at[fresh], keys[fresh])
