"""Local search: neighbours of the best arch until none is better, then from elsewhere.

"Local Search is State of the Art for Neural Architecture Search Benchmarks" (White et al., 2021).
Different here: an arch is left for a better neighbour at once, not after all were scored; with several
objectives each climb has weights of its own, so that climbs end at different places of the front.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from nas.search.feasible import Feasible, Proposals
from nas.search.objectives import Scores
from nas.search.problem import Problem
from nas.search.searchers.acquisition import Scalar, draw_scalar
from nas.search.searchers.searcher import Searcher
from search_spaces.space import Rows

RESTART_SHARE = 0.2


class LocalSearch(Searcher):
    """Climbs from the best of some samples, and from new samples or a mutant of the best when it is stuck.

    Args:
        problem: problem to search.
        seed: seed of every random decision.
        first: samples scored before the first climb.
    """

    def __init__(self, problem: Problem, seed: int, *, first: Annotated[int, Field(ge=1)] = 10) -> None:
        self._problem = problem
        self._rng = np.random.default_rng(seed)
        self._feasible = Feasible(problem)
        self._proposals = Proposals(self._feasible)
        self._first = first
        self._rows: Rows = np.empty((0, len(problem.space.choices)), dtype=np.int64)
        self._scores: Scores = np.empty((0, len(problem.objectives)))
        self._scalar: Scalar | None = None
        self._left = self._rows  # neighbours of the current arch that are not proposed yet
        self._value = np.inf  # of the current arch; less is better
        self._asked = 0

    def ask(self, n: int) -> Rows:
        asked = [self._ask_one() for _ in range(n)]
        return np.vstack(asked)

    def tell(self, rows: Rows, scores: Scores) -> None:
        self._proposals.mark(rows)
        good = ~np.isnan(scores).any(axis=1)
        self._rows = np.vstack([self._rows, rows[good]])
        self._scores = np.vstack([self._scores, scores[good]])
        if self._scalar is None:
            return
        values = self._values(scores[good])
        if len(values) and values.min() < self._value:
            self._move_to(rows[good][values.argmin()], float(values.min()))

    def _ask_one(self) -> Rows:
        self._asked += 1
        if self._asked <= self._first or not len(self._rows):
            return self._proposals.draw(1, self._rng)
        if self._scalar is None:
            self._climb_from_best()
        while True:
            while len(self._left):
                row, self._left = self._left[:1], self._left[1:]
                if self._proposals.unseen(row)[0]:
                    self._proposals.mark(row)
                    return row
            if self._value == np.inf:  # a sample is being scored, or there is nothing new around it
                return self._proposals.draw(1, self._rng)
            self._restart()

    def _values(self, scores: Scores) -> Scores:
        assert self._scalar is not None
        return self._scalar(scores) + 1e3 * self._problem.excess(scores)

    def _climb_from_best(self) -> None:
        """Begins a climb with new weights at the best arch for them."""
        self._scalar = draw_scalar(self._scores, self._rng, first_share=1 / 3)
        values = self._values(self._scores)
        self._move_to(self._rows[values.argmin()], float(values.min()))

    def _restart(self) -> None:
        """Ends a climb: the next one has new weights, or starts at a random arch."""
        if self._rng.random() > RESTART_SHARE and len(self._problem.objectives) > 1:
            self._climb_from_best()
            if len(self._left) and self._proposals.unseen(self._left).any():
                return
        self._value, self._left = np.inf, self._left[:0]

    def _move_to(self, row: Rows, value: float) -> None:
        steps = self._problem.space.neighbours(row)
        steps = steps[self._problem.admits(steps)]
        self._left = steps[self._rng.permutation(len(steps))]
        self._value = value
