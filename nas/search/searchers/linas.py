"""The LINAS loop: score, fit predictors, search the predictors, score what they propose.

"A Hardware-Aware Framework for Accelerating Neural Architecture Search Across Modalities" (Cummings et
al., 2022), the loop behind SimQ-NAS. Different here: proposals are canonical, new and within the limits,
the predictor is chosen by cross-validation each round, costs that are known are not predicted, and the
search may stop when rounds stop helping.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from nas.predictors.encoding import Encoding
from nas.predictors.predictor import PredictorReport
from nas.predictors.selection import LEAST, predictors, select
from nas.predictors.threads import one_thread
from nas.search.feasible import Feasible, Proposals
from nas.search.objectives import Scores
from nas.search.problem import Problem
from nas.search.searchers.nsga2 import evolve
from nas.search.searchers.searcher import Searcher
from results.front import non_dominated
from search_spaces.space import Rows


class Linas(Searcher):
    """Rounds of proposals from NSGA-II on predictors.

    Args:
        problem: problem to search.
        seed: seed of every random decision.
        batch: archs proposed each round; the first round is random.
        generations: generations of the inner search, whose population is 200.
        patience: rounds without a new arch on the front after which the search ends; 0 spends the budget.

    Attributes:
        rounds: quality of the chosen predictors, each round, on archs that they did not see.

    Example:
        >>> from nas.search import contract, search
        >>> found = search(
        ...     contract.small_space(),
        ...     contract.small_accuracy,
        ...     objectives={"accuracy": "max", "latency_ms": "min"},
        ...     constraints={"latency_ms": 6.0},
        ...     costs=contract.small_costs,
        ...     budget=30,
        ...     searcher=("linas", {"batch": 10, "generations": 5}),
        ... )
        >>> [report.archs for report in found.rounds]
        [10, 20]
    """

    def __init__(
        self,
        problem: Problem,
        seed: int,
        *,
        batch: Annotated[int, Field(ge=1)] = 20,
        generations: Annotated[int, Field(ge=1)] = 20,
        patience: Annotated[int, Field(ge=0)] = 5,
    ) -> None:
        self._problem = problem
        self._rng = np.random.default_rng(seed)
        self._feasible = Feasible(problem)
        self._proposals = Proposals(self._feasible)
        self._encode = Encoding(problem.space, problem.costs if problem.cost_names else None)
        self._measured = [i for i, o in enumerate(problem.objectives) if o.name in problem.measured]
        self._batch, self._generations, self._patience = batch, generations, patience
        self._rows: Rows = np.empty((0, len(problem.space.choices)), dtype=np.int64)
        self._scores: Scores = np.empty((0, len(problem.objectives)))
        self._left = self._proposals.draw(batch, self._rng)
        self._fitted_from, self._idle = 0, 0
        self.rounds: list[PredictorReport] = []

    def tell(self, rows: Rows, scores: Scores) -> None:
        self._proposals.mark(rows)
        good = ~np.isnan(scores).any(axis=1)
        self._rows = np.vstack([self._rows, rows[good]])
        self._scores = np.vstack([self._scores, scores[good]])

    def ask(self, n: int) -> Rows:
        if not len(self._left) and not (self._patience and self._idle >= self._patience):
            self._left = self._round()
        asked, self._left = self._left[:n], self._left[n:]
        return asked

    def _round(self) -> Rows:
        """The next batch of new archs; random as long as there is too little to learn from."""
        if len(self._rows) < LEAST or not self._measured:
            return self._proposals.draw(self._batch, self._rng)
        self._count_idle()
        with one_thread():
            features = self._encode(self._rows)
            chosen = {}
            for column in self._measured:
                found = select(predictors(self._encode.blocks), features, self._scores[:, column], self._rng)
                self.rounds.append(found.report)
                chosen[column] = found.predictor

            def score(rows: Rows) -> Scores:
                scores = self._problem.known(rows)
                for column, predictor in chosen.items():
                    scores[:, column] = predictor.mean(self._encode(rows))
                return scores

            start = self._rows[non_dominated(self._scores)]
            found_rows, found_scores = evolve(
                self._feasible, score, start, self._rng, population=200, generations=self._generations
            )
        found_rows = found_rows[np.argsort(self._problem.excess(found_scores), kind="stable")]
        new = found_rows[self._proposals.unseen(found_rows)][: self._batch]
        self._proposals.mark(new)
        return new if len(new) else self._proposals.draw(self._batch, self._rng)

    def _count_idle(self) -> None:
        front = np.flatnonzero(non_dominated(self._scores))
        improved = (front >= self._fitted_from).any()
        self._idle = 0 if improved or not self._fitted_from else self._idle + 1
        self._fitted_from = len(self._scores)
