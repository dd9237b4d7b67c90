"""Latency-driven slimming: the greedy walk of "EfficientFormer" (Li et al., 2022), section 3.3.

From the largest network, every single step to something cheaper is scored, and the one that loses least
accuracy per millisecond saved is taken, until nothing can be taken away; the networks on the way are a
curve. Different here: steps are scored with the supernet's weights, where the paper learns their
importance with Gumbel-softmax. A network over a limit is never scored, so where the largest is over one
the walk goes the other way: from the smallest network that meets the limits, adding what gains most per
millisecond, until nothing fits any more.
"""

from __future__ import annotations

import numpy as np

from nas.search.diagnosis import closest
from nas.search.feasible import Feasible, Proposals
from nas.search.objectives import Scores
from nas.search.problem import Problem
from nas.search.searchers.searcher import Searcher
from search_spaces.space import Rows


class Slimming(Searcher):
    """A greedy walk along accuracy per cost. It ends at the end of the walk, budget spent or not.

    Args:
        problem: problem to search.
        seed: changes nothing; the walk has no random decisions.

    Raises:
        ValueError: no cost is known without an evaluation, or no objective needs one.

    Example:
        >>> from nas.search import contract, search
        >>> found = search(
        ...     contract.small_space(),
        ...     contract.small_accuracy,
        ...     objectives={"accuracy": "max", "latency_ms": "min"},
        ...     constraints={"latency_ms": 6.0},
        ...     costs=contract.small_costs,
        ...     budget=500,
        ...     searcher=("slimming", {}),
        ... )
        >>> len(found.trials) < 500  # the walk is over
        True
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        _ = seed
        if not problem.cost_names or not problem.measured:
            raise ValueError(
                "slimming needs a cost that is known beforehand and an objective that is measured"
            )
        self._problem = problem
        self._proposals = Proposals(Feasible(problem))
        self._cost = problem.main_cost
        self._column = next(i for i, o in enumerate(problem.objectives) if o.name in problem.measured)
        self._told: dict[bytes, float] = {}
        space = problem.space
        largest = space.ends[1]
        start = largest if space.valid(largest[None])[0] else space.sample(1, np.random.default_rng(0))[0]
        self._shrinks = bool(problem.admits(start[None])[0])
        if not self._shrinks:
            start = self._smallest()
        self._current = start
        self._waiting = start[None]  # what has to be scored before the next step
        self._finished = False

    def _smallest(self) -> Rows:
        """The smallest network where it meets the limits, else the nearest to it that does."""
        smallest = self._problem.space.ends[0]
        if self._problem.admits(smallest[None])[0]:
            return smallest
        return closest(self._problem, np.random.default_rng(0))

    def ask(self, n: int) -> Rows:
        while not self._finished:
            new = self._waiting[self._proposals.unseen(self._waiting)][:n]
            if len(new):
                self._proposals.mark(new)
                return new
            if not all(row.tobytes() in self._told for row in self._waiting):
                break  # scores are on their way
            self._step()
        return self._current[None][:0]

    def tell(self, rows: Rows, scores: Scores) -> None:
        self._proposals.mark(rows)
        for row, score in zip(np.ascontiguousarray(rows), scores, strict=True):
            value = float(score[self._column])
            self._told[row.tobytes()] = np.inf if np.isnan(value) else value

    def _step(self) -> None:
        """Takes the best of the scored steps, and lists the next ones."""
        if len(self._waiting) > 1 or (self._waiting[0] != self._current).any():
            score = self._told[self._current.tobytes()]
            there = np.array([self._told[row.tobytes()] for row in self._waiting])
            cost = self._costs(np.vstack([self._current[None], self._waiting]))
            paid = np.abs(cost[1:] - cost[0])
            # Minimised scores: a step's loss is how much it rises. The least loss per millisecond saved is
            # taken on the way down, the most gain per millisecond spent on the way up.
            loss = np.where(np.isfinite(there), there - (score if np.isfinite(score) else 0.0), np.inf)
            self._current = self._waiting[(loss / paid).argmin()]
        self._waiting = self._steps()
        self._finished = not len(self._waiting)

    def _steps(self) -> Rows:
        """The steps from here in the walk's direction, numbers by one value at a time."""
        space = self._problem.space
        steps = space.neighbours(self._current)
        steps = steps[self._problem.admits(steps)]
        if not len(steps):
            return steps
        changed = (steps != self._current).argmax(axis=1)  # a parent comes before the children it changes
        distance = np.abs(steps[np.arange(len(steps)), changed] - self._current[changed])
        steps = steps[space.categorical[changed] | (distance == 1)]
        cost = self._costs(np.vstack([self._current[None], steps]))
        onward = cost[1:] < cost[0] if self._shrinks else cost[1:] > cost[0]
        return steps[onward]

    def _costs(self, rows: Rows) -> Scores:
        return self._problem.costs(rows)[self._cost]
