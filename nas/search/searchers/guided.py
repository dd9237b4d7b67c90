"""Guided search: a Gaussian process learns from every score and chooses the arch to score next.

The default. Each proposal is the arch of highest expected improvement among samples, neighbours of the
best and their offspring, all within the limits. The costs of an arch are inputs of the model: they need no
evaluation and say much about accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nas.predictors.encoding import Encoding
from nas.predictors.predictor import PredictorReport, report_on
from nas.predictors.process import Process
from nas.predictors.threads import one_thread
from nas.search.feasible import Feasible, Proposals
from nas.search.objectives import Scores
from nas.search.problem import Problem
from nas.search.searchers.acquisition import (
    Scalar,
    draw_scalar,
    expected_improvement,
    normal_quantiles,
    normal_tail,
)
from nas.search.searchers.nsga2 import offspring, survivors
from nas.search.searchers.searcher import Searcher
from search_spaces.space import Rows

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Warp:
    """A monotonic map of a score that spreads the best scores and compresses the bad ones.

    The score is minimised; its distance to the best is taken as a logarithm beyond ``unit``.
    """

    best: float
    unit: float

    @classmethod
    def of(cls, scores: Values) -> Warp:
        """The warp of some scores: its unit is a third of the median distance to the best."""
        gap = scores - scores.min()
        typical = float(np.median(gap)) or float(gap.mean()) or 1.0
        return cls(best=float(scores.min()), unit=0.3 * typical)

    def __call__(self, scores: Values) -> Values:
        return np.log1p((scores - self.best) / self.unit)

    def back(self, warped: Values) -> Values:
        """The score of a warped one."""
        return self.best + self.unit * np.expm1(warped)


class Guided(Searcher):
    """Bayesian optimisation over rows.

    Args:
        problem: problem to search.
        seed: seed of every random decision.
        first: random archs proposed before the model proposes.
        candidates: samples compared for each proposal, besides neighbours and offspring.
        patience: proposals in a row without a better front after which the search ends; 0 spends the budget.

    Attributes:
        rounds: quality of the model, each time its relevances were learnt, on archs left out.

    Example:
        >>> from nas.search import contract, search
        >>> found = search(
        ...     contract.small_space(),
        ...     contract.small_accuracy,
        ...     objectives={"accuracy": "max", "latency_ms": "min"},
        ...     constraints={"latency_ms": 6.0},
        ...     costs=contract.small_costs,
        ...     budget=80,
        ...     searcher=("guided", {"patience": 6}),
        ... )
        >>> len(found.trials) < 80  # the front did not improve for 6 trials
        True
        >>> found.rounds[-1].tau > 0.5  # the model ranks archs that it did not see
        True
    """

    def __init__(
        self,
        problem: Problem,
        seed: int,
        *,
        first: Annotated[int, Field(ge=1)] = 10,
        candidates: Annotated[int, Field(ge=1)] = 1000,
        patience: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        self._problem = problem
        self._rng = np.random.default_rng(seed)
        self._feasible = Feasible(problem)
        self._proposals = Proposals(self._feasible)
        self._first, self._candidates, self._patience = first, candidates, patience
        self._encode = Encoding(problem.space, problem.costs if problem.cost_names else None)
        self._measured = [i for i, o in enumerate(problem.objectives) if o.name in problem.measured]
        self._models = {i: Process(self._encode.blocks, relearn=1.15) for i in self._measured}
        self._warps: dict[int, Warp] = {}
        self._rows: Rows = np.empty((0, len(problem.space.choices)), dtype=np.int64)
        self._scores: Scores = np.empty((0, len(problem.objectives)))
        self._pending: dict[bytes, Rows] = {}
        self._idle = 0
        self.rounds: list[PredictorReport] = []

    def tell(self, rows: Rows, scores: Scores) -> None:
        self._proposals.mark(rows)
        for row, score in zip(np.ascontiguousarray(rows), scores, strict=True):
            self._pending.pop(row.tobytes(), None)
            if np.isnan(score).any():
                continue
            self._idle = 0 if self._improves(score) else self._idle + 1
            self._rows = np.vstack([self._rows, row])
            self._scores = np.vstack([self._scores, score])

    def ask(self, n: int) -> Rows:
        asked = [row for row in (self._ask_one() for _ in range(n)) if row is not None]
        return np.array(asked, dtype=np.int64).reshape(len(asked), len(self._problem.space.choices))

    def _improves(self, score: Values) -> bool:
        if self._problem.excess(score[None])[0] > 0:
            return False
        good = self._scores[self._problem.excess(self._scores) == 0]
        return not (good <= score).all(axis=1).any()

    def _ask_one(self) -> Rows | None:
        if self._patience and self._idle >= self._patience:
            return None
        if len(self._rows) + len(self._pending) < self._first or len(self._rows) < 4 or not self._measured:
            drawn = self._proposals.draw(1, self._rng)
        else:
            with one_thread():
                drawn = self._best_candidate()
            self._proposals.mark(drawn)
        if not len(drawn):
            return None
        self._pending[drawn[0].tobytes()] = drawn[0]
        return drawn[0]

    def _best_candidate(self) -> Rows:
        """The candidate of highest expected improvement, (1, n choices); none where there are no new ones."""
        self._fit()
        scalar = self._draw_scalar()
        rows = self._new(self._start_candidates())
        if not len(rows):
            return self._proposals.draw(1, self._rng)
        worth = self._improvement(rows, scalar)
        for _ in range(2):
            order = np.argsort(-worth, kind="stable")[:40]
            bred = self._breed(rows[order], 200)
            fresh = self._new(np.vstack([rows[order], bred]))[len(order) :]
            rows = np.vstack([rows[order], fresh])
            worth = np.r_[worth[order], self._improvement(fresh, scalar)]
        return rows[worth.argmax()][None]

    def _fit(self) -> None:
        """Fits a model for each measured objective; archs under way count as what is predicted of them."""
        told = self._encode(self._rows)
        pending = self._encode(np.array(list(self._pending.values()))) if self._pending else None
        for column, model in self._models.items():
            scores = self._scores[:, column]
            warp = self._warps[column] = Warp.of(scores)
            targets = warp(scores)
            model.fit(told, targets)
            if model.relearnt:
                name = self._problem.objectives[column].name
                self.rounds.append(report_on(name, scores, warp.back(model.left_out)))
            if pending is not None:
                believed, _ = model.predict(pending)
                model.condition(np.vstack([told, pending]), np.r_[targets, believed])

    def _start_candidates(self) -> Rows:
        """Samples, the neighbours of the best archs, and offspring of the better ones."""
        space = self._problem.space
        order = self._order()
        near = np.vstack([space.neighbours(self._rows[i]) for i in order[:4]])
        near = near[self._problem.admits(near)]
        if len(near) > 400:
            near = near[self._rng.permutation(len(near))[:400]]
        bred = self._breed(self._rows[order[: max(4, len(order) // 5)]], 200)
        return np.vstack([near, bred, self._feasible.sample(self._candidates, self._rng)])

    def _order(self) -> NDArray[np.int64]:
        """The told archs, best first: within the limits, then by the first objective or the front."""
        return survivors(self._scores, len(self._scores), self._problem.excess(self._scores))[0]

    def _breed(self, parents: Rows, n: int) -> Rows:
        rank = np.arange(len(parents))
        children = offspring(self._problem.space, parents, rank, np.zeros(len(parents)), n, self._rng)
        return self._feasible.repair(children, self._rng)

    def _new(self, rows: Rows) -> Rows:
        return rows[self._proposals.unseen(rows)]

    def _draw_scalar(self) -> Scalar | None:
        if len(self._problem.objectives) == 1:
            return None
        good = self._scores[self._problem.excess(self._scores) == 0]
        share = 1 / 3 if self._problem.limits else 0.1
        return draw_scalar(good if len(good) else self._scores, self._rng, first_share=share)

    def _improvement(self, rows: Rows, scalar: Scalar | None) -> Values:
        """The improvement expected of each row, (n,), less where measured limits may be broken."""
        if not len(rows):
            return np.empty(0)
        features = self._encode(rows)
        predicted = {column: model.predict(features) for column, model in self._models.items()}
        good = self._scores[self._problem.excess(self._scores) == 0]
        if not len(good):
            worth = np.ones(len(rows))  # what may meet the limits comes first
        elif scalar is None:
            mean, error = predicted[0]
            worth = expected_improvement(mean, error, float(self._warps[0](good[:, 0].min())))
        else:
            worth = self._scalar_improvement(rows, predicted, scalar, float(scalar(good).min()))
        return worth * self._probability_to_meet(predicted)

    def _scalar_improvement(
        self, rows: Rows, predicted: dict[int, tuple[Values, Values]], scalar: Scalar, best: float
    ) -> Values:
        draws = normal_quantiles()[:, None]  # (slices, 1)
        scores = np.repeat(self._problem.known(rows)[None], len(draws), axis=0)  # (slices, n, n objectives)
        for turn, (column, (mean, error)) in enumerate(predicted.items()):
            # Each measured objective takes the slices in another order, so that they vary independently.
            shuffled = draws if turn == 0 else draws[np.random.default_rng(turn).permutation(len(draws))]
            scores[:, :, column] = self._warps[column].back(mean + shuffled * error)
        value = scalar(scores)  # (slices, n)
        centre = value.mean(axis=0)
        return np.maximum(best - value, 0.0).mean(axis=0) - 1e-9 * (centre - centre.min(initial=np.inf))

    def _probability_to_meet(self, predicted: dict[int, tuple[Values, Values]]) -> Values:
        """The probability that each row meets the limits on measured objectives."""
        probability = np.ones(len(next(iter(predicted.values()))[0]))
        for limit in self._problem.limits:
            for column in self._measured:
                objective = self._problem.objectives[column]
                if objective.name == limit.name:
                    mean, error = predicted[column]
                    warp = self._warps[column]
                    bound = max(limit.bound * objective.sign, warp.best - 0.9 * warp.unit)
                    probability = probability * normal_tail((warp(np.array(bound)) - mean) / error)[1]
        return probability
