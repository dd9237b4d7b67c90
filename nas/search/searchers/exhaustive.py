"""Exhaustive search: every arch once, for small spaces, and the truth that other searchers are judged by."""

from __future__ import annotations

import numpy as np

from nas.search.feasible import Feasible, Proposals
from nas.search.objectives import Scores
from nas.search.problem import ENUMERABLE, Problem
from nas.search.searchers.searcher import Searcher
from search_spaces.space import Rows


class Exhaustive(Searcher):
    """Proposes all archs under the limits in a random order, so that a budget cuts off a fair sample.

    Args:
        problem: problem to search.
        seed: seed of the order.

    Raises:
        ValueError: the space is too large to list.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        if problem.listed is None:
            raise ValueError(
                f"space {problem.space.name!r} holds {problem.space.size:.3g} archs; exhaustive search "
                f"lists at most {ENUMERABLE}. Use another searcher."
            )
        self._proposals = Proposals(Feasible(problem))
        self._left = np.random.default_rng(seed).permutation(problem.listed)

    def ask(self, n: int) -> Rows:
        asked = self._left[:0]
        while len(asked) < n and len(self._left):
            head, self._left = self._left[: n - len(asked)], self._left[n - len(asked) :]
            head = head[self._proposals.unseen(head)]
            self._proposals.mark(head)
            asked = np.vstack([asked, head])
        return asked

    def tell(self, rows: Rows, scores: Scores) -> None:  # noqa: ARG002  (the order does not depend on scores)
        self._proposals.mark(rows)
