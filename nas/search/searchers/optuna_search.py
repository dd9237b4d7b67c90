"""Optuna's samplers, asked and told as searchers.

The sampler works on a study in memory; each finished trial is copied to a study on the disk as it comes. So a
resumed search replays the sampler exactly, and the file never holds trials that are said to run and do not.
"""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nas.search.feasible import Feasible, Proposals
from nas.search.objectives import Scores
from nas.search.problem import Problem
from nas.search.searchers.optuna_study import StudyFile
from nas.search.searchers.searcher import Searcher
from search_spaces.choice import Choice, Value
from search_spaces.space import Rows

if TYPE_CHECKING:
    import optuna

OVER_LIMITS = "over the limits"
"""User attribute of a trial: how far its arch is over the cheap limits, 0 where it meets them."""


class OptunaSearch(Searcher):
    """One of Optuna's samplers as a searcher; a subclass names it and makes it.

    Choices are parameters by their name. TPE sees a conditional choice only where it is active; the other
    samplers, which need a fixed set of parameters, see all of them, and inactive ones change nothing. An arch
    over a limit is told to Optuna as such and another is asked for; after some tries it is repaired.

    Args:
        problem: problem to search.
        seed: seed of the sampler and of repairs.
        sampler: Optuna's sampler, made with that seed.

    Attributes:
        sampler_name: name in the study's name.
        conditional: whether inactive choices are left out.
        by_index: whether values are described by their position, for samplers that only take numbers.
        tries: proposals asked for before one over the limits is repaired.

    Raises:
        ValueError: a study file of another space.
    """

    sampler_name: ClassVar[str]
    conditional: ClassVar[bool] = False
    by_index: ClassVar[bool] = False
    tries: ClassVar[int] = 8

    def __init__(self, problem: Problem, seed: int, sampler: Any) -> None:
        import optuna

        self._problem = problem
        self._rng = np.random.default_rng([seed, 3])
        self._feasible = Feasible(problem)
        self._proposals = Proposals(self._feasible)
        directions = ["maximize" if o.maximise else "minimize" for o in problem.objectives]
        self._study = optuna.create_study(directions=directions, sampler=sampler)
        self._file = StudyFile.open(problem, self.sampler_name, directions)
        self._asked: dict[bytes, list[Any]] = {}  # trials that wait for the scores of a row
        self._told: dict[bytes, Scores] = {}

    def ask(self, n: int) -> Rows:
        rows = [row for row in (self._ask_one() for _ in range(n)) if row is not None]
        return np.array(rows, dtype=np.int64).reshape(len(rows), len(self._problem.space.choices))

    def tell(self, rows: Rows, scores: Scores) -> None:
        for row, values in zip(np.ascontiguousarray(rows), scores, strict=True):
            self._proposals.mark(row[None])
            key = row.tobytes()
            self._told[key] = values
            waiting = self._asked.pop(key, [])
            for trial in waiting:
                self._finish(trial, values)
            if not waiting:
                self._add(row, values)
            self._file.add(self._frozen(row, values))

    def _ask_one(self) -> Rows | None:
        space = self._problem.space
        row = None
        for _ in range(self.tries):
            trial = self._study.ask()
            row = self._suggest(trial)
            violation = float(self._problem.violation(row[None])[0])
            trial.set_user_attr(OVER_LIMITS, min(violation, 1e9))
            if not self._problem.admits(row[None])[0]:
                self._study.tell(trial, state=_states().PRUNED)
                continue
            key = row.tobytes()
            if self._proposals.unseen(row[None])[0]:
                self._proposals.mark(row[None])
                self._asked[key] = [trial]
                return row
            if key in self._told:
                self._finish(trial, self._told[key])
            else:
                self._asked.setdefault(key, []).append(trial)
        if row is None:
            return None
        near = self._feasible.repair(space.mutate(row[None], self._rng, rate=0.1), self._rng)
        if not self._proposals.unseen(near)[0]:
            near = self._proposals.draw(1, self._rng)
        self._proposals.mark(near)
        return near[0] if len(near) else None

    def _finish(self, trial: Any, values: Scores) -> None:
        if np.isnan(values).any():
            self._study.tell(trial, state=_states().FAIL)
        else:
            self._study.tell(trial, self._given(values))

    def _given(self, values: Scores) -> list[float]:
        """Scores as Optuna takes them, each in its own direction."""
        return [float(v * o.sign) for v, o in zip(values, self._problem.objectives, strict=True)]

    def _add(self, row: Rows, values: Scores) -> None:
        """Tells Optuna of an arch it did not propose."""
        if not np.isnan(values).any():
            self._study.add_trial(self._frozen(row, values))

    def _frozen(self, row: Rows, values: Scores) -> Any:
        import optuna

        failed = bool(np.isnan(values).any())
        arch = self._problem.space.to_arch(row)
        active = self._problem.space.active(row[None])[0] | (not self.conditional)
        shown = [choice for choice, on in zip(self._problem.space.choices, active, strict=True) if on]
        return optuna.trial.create_trial(
            state=_states().FAIL if failed else _states().COMPLETE,
            params={choice.name: self._parameter(choice, arch[choice.name]) for choice in shown},
            distributions={choice.name: distribution(choice, by_index=self.by_index) for choice in shown},
            values=None if failed else self._given(values),
            user_attrs={"arch": json.dumps(arch), OVER_LIMITS: 0.0},
            # What Optuna itself notes of a trial that met the limits; it does so only for those it asked for.
            system_attrs={"constraints": (0.0,)} if self._problem.cheap_limits else {},
        )

    def _parameter(self, choice: Choice, value: Value) -> Value:
        return choice.values.index(value) if self.by_index else value

    def _suggest(self, trial: optuna.Trial) -> Rows:
        """The canonical row of what the sampler suggests, choice by choice, parents first."""
        space = self._problem.space
        row = np.zeros((1, len(space.choices)), dtype=np.int64)
        for column, choice in enumerate(space.choices):
            if self.conditional and not space.active(row)[0, column]:
                continue
            row[0, column] = self._suggest_one(trial, choice)
        return space.canonical(row)[0]

    def _suggest_one(self, trial: optuna.Trial, choice: Choice) -> int:
        """The position of the value that the sampler suggests for a choice."""
        described = distribution(choice, by_index=self.by_index)
        if hasattr(described, "step"):
            number = trial.suggest_int(choice.name, described.low, described.high, step=described.step)
            return number if self.by_index else choice.values.index(number)
        return choice.values.index(trial.suggest_categorical(choice.name, choice.values))


def _states() -> Any:
    import optuna

    return optuna.trial.TrialState


def distribution(choice: Choice, *, by_index: bool = False) -> Any:
    """A choice as Optuna's distribution: ordered numbers at even steps as numbers, all else as categories.

    Args:
        choice: choice to describe.
        by_index: whether to describe the position among the values, for samplers that only take numbers.
    """
    import optuna

    values = choice.values
    if by_index:
        return optuna.distributions.IntDistribution(0, len(values) - 1)
    if len(values) > 1 and not choice.categorical and all(type(value) is int for value in values):
        steps = {int(b) - int(a) for a, b in itertools.pairwise(values)}
        if len(steps) == 1 and (step := steps.pop()) > 0:
            return optuna.distributions.IntDistribution(int(values[0]), int(values[-1]), step=step)
    return optuna.distributions.CategoricalDistribution(values)


def excess(problem: Problem) -> Callable[[Any], list[float]] | None:
    """Optuna's ``constraints_func``: how far a trial is over the cheap limits; None where there are none."""

    def over(trial: Any) -> list[float]:
        return [float(trial.user_attrs.get(OVER_LIMITS, 0.0))]

    return over if problem.cheap_limits else None


@contextmanager
def quiet() -> Iterator[None]:
    """Silences Optuna's reports of trials and its warnings of ``constraints_func``, all that Optuna 4 has."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield
