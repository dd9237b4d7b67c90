"""NNI's tuners as searchers, through ``nni.mutable``'s description of the space.

They know one number, the first objective; the limits are held by repairing what they propose.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from nas.search.feasible import Feasible, Proposals
from nas.search.objectives import Scores
from nas.search.problem import Problem
from results.names import unknown
from search_spaces.nni_bridge import to_nni
from search_spaces.space import Rows

TUNERS = ("tpe", "evolution")
TRIES = 8


class NniSearch:
    """One of NNI's tuners.

    Args:
        problem: what is searched.
        seed: seed of the tuner and of repairs.
        tuner: one of ``TUNERS``.

    Raises:
        ValueError: an unknown tuner.
    """

    def __init__(self, problem: Problem, seed: int, *, tuner: str = "tpe") -> None:
        self._problem = problem
        self._rng = np.random.default_rng([seed, 5])
        self._feasible = Feasible(problem)
        self._proposals = Proposals(self._feasible)
        self._chance = random.Random(seed)
        described = {label: part.as_legacy_dict() for label, part in to_nni(problem.space).simplify().items()}
        with self._own_chance():
            self._tuner = _make(tuner, described, seed)
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

        with self._own_chance():
            try:
                return dict(self._tuner.generate_parameters(number))
            except nni.NoMoreTrialError:
                return None

    def _answer(self, number: int, parameters: dict[str, Any], score: float) -> None:
        with self._own_chance():
            if np.isfinite(score):
                self._tuner.receive_trial_result(number, parameters, score)
            self._tuner.trial_end(number, bool(np.isfinite(score)))

    @contextmanager
    def _own_chance(self) -> Iterator[None]:
        """NNI draws from Python's global generator; here it is lent one of ours and the global one kept."""
        kept = random.getstate()
        random.setstate(self._chance.getstate())
        try:
            yield
        finally:
            self._chance.setstate(random.getstate())
            random.setstate(kept)


def _make(name: str, described: dict[str, Any], seed: int) -> Any:
    """The tuner, told of the space, its own generator seeded."""
    if name not in TUNERS:
        raise ValueError(unknown("NNI tuner", name, TUNERS))
    logging.getLogger("nni").setLevel(logging.WARNING)
    if name == "tpe":
        from nni.algorithms.hpo.tpe_tuner import TpeTuner

        tuner = TpeTuner(optimize_mode="minimize", seed=seed)
        tuner.update_search_space(described)
        return tuner
    from nni.algorithms.hpo.evolution_tuner import EvolutionTuner

    tuner = EvolutionTuner(optimize_mode="minimize", population_size=20)
    tuner.update_search_space(described)
    tuner.random_state = np.random.RandomState(seed)
    tuner.population = []
    for _ in range(tuner.population_size):
        tuner._random_generate_individual()
    return tuner
