"""Random search: the control that every other searcher must beat."""

from __future__ import annotations

import numpy as np

from nas.search.feasible import Feasible, Proposals
from nas.search.objectives import Scores
from nas.search.problem import Problem
from search_spaces.space import Rows


class RandomSearch:
    """Archs under the limits by chance, none twice."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._proposals = Proposals(Feasible(problem))

    def ask(self, n: int) -> Rows:
        return self._proposals.draw(n, self._rng)

    def tell(self, rows: Rows, scores: Scores) -> None:  # noqa: ARG002  (chance learns nothing)
        self._proposals.mark(rows)
