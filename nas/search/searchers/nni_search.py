"""NNI's tuners as searchers, through ``nni.mutable``'s description of the space.

They know one number, the first objective; the limits are kept by repairing what they propose. Their settings
have NNI's own names and defaults.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from nas.search.feasible import Feasible, Proposals
from nas.search.objectives import Scores
from nas.search.problem import Problem
from nas.search.searchers.searcher import Searcher
from search_spaces.nni_bridge import to_nni
from search_spaces.space import Rows

TRIES = 8


class NniSearch(Searcher):
    """One of NNI's tuners as a searcher; a subclass makes it.

    Args:
        problem: problem to search.
        seed: seed of the tuner and of repairs.
        make: makes NNI's tuner from NNI's description of the space.
    """

    def __init__(self, problem: Problem, seed: int, make: Callable[[dict[str, Any]], Any]) -> None:
        self._problem = problem
        self._rng = np.random.default_rng([seed, 5])
        self._feasible = Feasible(problem)
        self._proposals = Proposals(self._feasible)
        self._python_rng = random.Random(seed)
        described = {label: part.as_legacy_dict() for label, part in to_nni(problem.space).simplify().items()}
        logging.getLogger("nni").setLevel(logging.WARNING)
        with self._own_generator():
            self._tuner = make(described)
        self._number = 0
        self._asked: dict[bytes, list[tuple[int, dict[str, Any]]]] = {}
        self._told: dict[bytes, float] = {}

    def ask(self, n: int) -> Rows:
        rows = [self._ask_one() for _ in range(n)]
        return np.vstack(rows)

    def tell(self, rows: Rows, scores: Scores) -> None:
        self._proposals.mark(rows)
        for row, score in zip(np.ascontiguousarray(rows), scores, strict=True):
            key = row.tobytes()
            self._told[key] = float(score[0])
            for number, parameters in self._asked.pop(key, []):
                self._answer(number, parameters, self._told[key])

    def _ask_one(self) -> Rows:
        space = self._problem.space
        for _ in range(TRIES):
            number, self._number = self._number, self._number + 1
            parameters = self._generate(number)
            if parameters is None:
                break
            raw = np.array([[c.values.index(parameters[c.name]) for c in space.choices]], dtype=np.int64)
            row = self._feasible.repair(raw, self._rng)
            key = row[0].tobytes()
            if self._proposals.unseen(row)[0]:
                self._proposals.mark(row)
                self._asked[key] = [(number, parameters)]
                return row
            if key in self._told:
                self._answer(number, parameters, self._told[key])
            else:
                self._asked.setdefault(key, []).append((number, parameters))
        return self._proposals.draw(1, self._rng)

    def _generate(self, number: int) -> dict[str, Any] | None:
        """The tuner's next parameters; None when it has been through the whole space."""
        import nni

        with self._own_generator():
            try:
                return dict(self._tuner.generate_parameters(number))
            except nni.NoMoreTrialError:
                return None

    def _answer(self, number: int, parameters: dict[str, Any], score: float) -> None:
        with self._own_generator():
            if np.isfinite(score):
                self._tuner.receive_trial_result(number, parameters, score)
            self._tuner.trial_end(number, bool(np.isfinite(score)))

    @contextmanager
    def _own_generator(self) -> Iterator[None]:
        """Lends NNI, which draws from Python's global generator, one of ours, and restores the global one."""
        kept = random.getstate()
        random.setstate(self._python_rng.getstate())
        try:
            yield
        finally:
            self._python_rng.setstate(random.getstate())
            random.setstate(kept)


class NniTpe(NniSearch):
    """NNI's tree-structured Parzen estimator.

    Args:
        problem: problem to search.
        seed: seed of the tuner and of repairs.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        def make(described: dict[str, Any]) -> Any:
            from nni.algorithms.hpo.tpe_tuner import TpeTuner

            tuner = TpeTuner(optimize_mode="minimize", seed=seed)
            tuner.update_search_space(described)
            return tuner

        super().__init__(problem, seed, make)


class NniEvolution(NniSearch):
    """NNI's evolution: a mutant of the better of two archs, the worse one dies.

    Args:
        problem: problem to search.
        seed: seed of the tuner and of repairs.
        population_size: archs alive; the first ones are drawn at random.
    """

    def __init__(
        self, problem: Problem, seed: int, *, population_size: Annotated[int, Field(ge=2)] = 20
    ) -> None:
        def make(described: dict[str, Any]) -> Any:
            from nni.algorithms.hpo.evolution_tuner import EvolutionTuner

            tuner = EvolutionTuner(optimize_mode="minimize", population_size=population_size)
            tuner.update_search_space(described)
            tuner.random_state = np.random.RandomState(seed)
            tuner.population = []
            for _ in range(tuner.population_size):
                tuner._random_generate_individual()
            return tuner

        super().__init__(problem, seed, make)
