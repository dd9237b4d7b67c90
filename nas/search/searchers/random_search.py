"""Random search: the control that every other searcher must beat."""

from __future__ import annotations

import numpy as np

from nas.search.feasible import Feasible, Proposals
from nas.search.objectives import Scores
from nas.search.problem import Problem
from nas.search.searchers.searcher import Searcher
from search_spaces.space import Rows

_CHUNK = 256  # archs drawn at a time, whatever the limits
_TRIES = 20
_RARE = 0.02  # where a smaller share of archs meets the limits, sampling alone takes too long


class RandomSearch(Searcher):
    """Proposes archs under the limits at random, none twice.

    A seed stands for one sequence of archs; limits only decide which of them are proposed. So the control
    of a search under another limit meets many archs again that were scored before.

    Args:
        problem: problem to search.
        seed: seed of the sequence.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        self._problem = problem
        self._rng = np.random.default_rng(seed)
        self._feasible = Feasible(problem)
        self._proposals = Proposals(self._feasible)
        self._waiting = problem.space.sample(0, self._rng)
        if problem.listed is not None:
            whole = problem.space.enumerate()
            whole = whole[self._rng.permutation(len(whole))]
            self._waiting = whole[problem.admits(whole)]

    def ask(self, n: int) -> Rows:
        found = self._waiting[:0]
        for _ in range(_TRIES):
            if len(found) == n:
                break
            if not len(self._waiting):
                self._waiting = self._next_chunk()
            rows, self._waiting = np.split(self._waiting, [n - len(found)])
            rows = rows[self._proposals.unseen(rows)]
            self._proposals.mark(rows)
            found = np.vstack([found, rows])
        return np.vstack([found, self._proposals.draw(n - len(found), self._rng)])

    def tell(self, rows: Rows, scores: Scores) -> None:  # noqa: ARG002  (random search learns nothing)
        self._proposals.mark(rows)

    def _next_chunk(self) -> Rows:
        if self._problem.listed is not None or self._feasible.share < _RARE:
            return self._waiting[:0]
        rows = self._problem.space.sample(_CHUNK, self._rng)
        return rows[self._problem.admits(rows)]
