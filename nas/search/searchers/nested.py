"""Nested prefixes: the search-free baseline of "SortedNet" (Valipour et al., 2023).

All choices grow together, from the smallest network to the largest; the networks on that line that meet
the limits are scored, the largest first. Categories, whose values have no order of their own, go from the
cheapest to the dearest as the largest network has them. Any searcher has to beat what they give.
"""

from __future__ import annotations

import numpy as np

from nas.search.feasible import Feasible, Proposals
from nas.search.objectives import Scores
from nas.search.problem import Problem
from nas.search.searchers.searcher import Searcher
from search_spaces.space import Rows

STEPS = 1000


class Nested(Searcher):
    """Proposes the diagonal of the space, from its large end to its small one.

    Args:
        problem: problem to search.
        seed: changes nothing; the line has no random decisions.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        space = problem.space
        feasible = Feasible(problem, seed=0)
        line = space.nearest(_line(problem))
        _, first = np.unique(line, axis=0, return_index=True)
        line = line[np.sort(first)]
        good = line[problem.admits(line)]
        if not len(good):  # nothing on the line itself meets the limits: what is nearest to its small end
            good = feasible.repair(line[-1:], np.random.default_rng(0))
        self._proposals = Proposals(feasible)
        self._left = good
        _ = seed

    def ask(self, n: int) -> Rows:
        asked, self._left = self._left[:n], self._left[n:]
        asked = asked[self._proposals.unseen(asked)]
        self._proposals.mark(asked)
        return asked

    def tell(self, rows: Rows, scores: Scores) -> None:  # noqa: ARG002  (the line does not depend on scores)
        self._proposals.mark(rows)


def _line(problem: Problem) -> Rows:
    """The diagonal, (steps, n choices), from the largest to the smallest."""
    space = problem.space
    largest = space.ends[1]
    top = np.where(space.active(largest[None])[0], largest, space.n_values - 1)
    share = np.linspace(1.0, 0.0, STEPS)[:, None]
    rows = np.rint(share * np.where(space.categorical, space.n_values - 1, top)).astype(np.int64)
    for column in np.flatnonzero(space.categorical & (space.n_values > 1)):
        moved = np.tile(top, (int(space.n_values[column]), 1))
        moved[:, column] = np.arange(len(moved))
        rows[:, column] = _cheap_to_dear(problem, space.canonical(moved))[rows[:, column]]
    return rows


def _cheap_to_dear(problem: Problem, rows: Rows) -> Rows:
    """The order of rows by what they cost, (n,); as they come where no cost is known."""
    cost = np.zeros(len(rows))
    if problem.main_cost:
        there = problem.space.valid(rows)
        cost[~there] = np.inf
        cost[there] = problem.costs(rows[there])[problem.main_cost]
    return np.argsort(cost, kind="stable")
