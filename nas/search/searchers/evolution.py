"""Regularized evolution: "Regularized Evolution for Image Classifier Architecture Search" (Real et al.,
2019).

Different here: with several objectives the winner of a tournament is the one on the best front, ties by
crowding; with one objective that is the paper's rule. Archs over a limit are repaired before they are
proposed.
"""

from __future__ import annotations

from collections import deque
from typing import Annotated

import numpy as np
from pydantic import Field

from nas.search.feasible import Feasible, Proposals
from nas.search.objectives import Scores
from nas.search.problem import Problem
from nas.search.searchers.nsga2 import survivors
from nas.search.searchers.searcher import Searcher
from search_spaces.space import Rows

TRIES = 20


class Evolution(Searcher):
    """Mutates the winner of a tournament; the oldest arch dies, not the worst.

    Args:
        problem: problem to search.
        seed: seed of every random decision.
        population: archs alive; the least budget.
        tournament: archs drawn, with repeats, to take the best as parent.

    Example:
        >>> from nas.search import contract, search
        >>> found = search(
        ...     contract.small_space(),
        ...     contract.small_accuracy,
        ...     objectives={"accuracy": "max", "latency_ms": "min"},
        ...     constraints={"latency_ms": 6.0},
        ...     costs=contract.small_costs,
        ...     budget=30,
        ...     searcher=("evolution", {"population": 10, "tournament": 4}),
        ... )
        >>> len(found.trials), bool((found.trials["latency_ms"] <= 6.0).all())
        (30, True)
    """

    def __init__(
        self,
        problem: Problem,
        seed: int,
        *,
        population: Annotated[int, Field(ge=1)] = 30,
        tournament: Annotated[int, Field(ge=1)] = 10,
    ) -> None:
        self._problem = problem
        self._rng = np.random.default_rng(seed)
        self._feasible = Feasible(problem)
        self._proposals = Proposals(self._feasible)
        self.population, self._tournament = population, tournament
        self._alive: deque[tuple[Rows, Scores]] = deque(maxlen=population)
        self._asked = 0

    def ask(self, n: int) -> Rows:
        rows = [self._child() if self._asked >= self.population and self._alive else None for _ in range(n)]
        found = [self._proposals.draw(1, self._rng) if row is None else row for row in rows]
        self._asked += n
        return np.vstack(found)

    def tell(self, rows: Rows, scores: Scores) -> None:
        self._proposals.mark(rows)
        self._alive.extend(
            (row, score) for row, score in zip(rows, scores, strict=True) if not np.isnan(score).any()
        )

    def _child(self) -> Rows | None:
        """A new mutant of a tournament's winner, (1, n choices); None where bounded tries find none."""
        for _ in range(TRIES):
            entered = self._rng.integers(len(self._alive), size=self._tournament)
            scores = np.array([self._alive[i][1] for i in entered])
            winner = survivors(scores, 1, self._problem.excess(scores))[0][0]
            parent = self._alive[entered[winner]][0][None]
            child = self._feasible.repair(
                self._problem.space.mutate(parent, self._rng, rate=0.0), self._rng
            )  # rate 0: one choice
            if self._proposals.unseen(child)[0]:
                self._proposals.mark(child)
                return child
        return None
