"""Optuna's samplers, asked and told, with a study on the disk that optuna-dashboard opens.

The sampler works on a study in memory; each finished trial is copied to the file as it comes. So a resumed
search replays the sampler exactly, and the file is never left with trials that are said to run and do not.
"""

from __future__ import annotations

import itertools
import json
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.search.feasible import Feasible, Proposals
from nas.search.objectives import Scores
from nas.search.problem import Problem
from results.files import read_lines
from results.names import unknown
from search_spaces.choice import Choice, Value
from search_spaces.space import Rows

if TYPE_CHECKING:
    import optuna

TRIES = {"gp": 1}  # a proposal of its Gaussian process takes seconds, so an arch over a limit is repaired
USUAL_TRIES = 8
SAMPLERS = ("tpe", "gp", "nsga2", "nsga3", "cmaes")
CONSTRAINT = "over the limits"


class OptunaSearch:
    """One of Optuna's samplers as a searcher.

    Choices are parameters by their name. TPE sees a conditional choice only where it is active; the other
    samplers, which need a fixed set of parameters, see all of them, and inactive ones change nothing. An arch
    over a limit is told to Optuna as such and another is asked for; after some tries it is repaired.

    Args:
        problem: what is searched.
        seed: of the sampler and of repairs.
        sampler: one of ``SAMPLERS``.

    Raises:
        ValueError: an unknown sampler, one that does not fit the problem, or a study file of another space.
    """

    def __init__(self, problem: Problem, seed: int, *, sampler: str = "tpe") -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._problem = problem
        self._conditional = sampler == "tpe"
        self._rng = np.random.default_rng([seed, 3])
        self._feasible = Feasible(problem)
        self._proposals = Proposals(self._feasible)
        self._by_index = sampler == "cmaes"
        self._tries = TRIES.get(sampler, USUAL_TRIES)
        self._directions = ["maximize" if o.maximise else "minimize" for o in problem.objectives]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            warnings.simplefilter("ignore", FutureWarning)  # constraints_func, all that Optuna 4 has
            chosen = make_sampler(problem, sampler, seed)
        self._study = optuna.create_study(directions=self._directions, sampler=chosen)
        self._mirror = _Mirror.beside(problem, sampler, self._directions)
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
            self._mirror.add(self._frozen(row, values))

    def _ask_one(self) -> Rows | None:
        space = self._problem.space
        row = None
        for _ in range(self._tries):
            trial = self._study.ask()
            row = self._suggest(trial)
            violation = float(self._problem.violation(row[None])[0])
            trial.set_user_attr(CONSTRAINT, min(violation, 1e9))
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
        active = self._problem.space.active(row[None])[0] | (not self._conditional)
        shown = [choice for choice, on in zip(self._problem.space.choices, active, strict=True) if on]
        return optuna.trial.create_trial(
            state=_states().FAIL if failed else _states().COMPLETE,
            params={choice.name: self._parameter(choice, arch[choice.name]) for choice in shown},
            distributions={choice.name: distribution(choice, by_index=self._by_index) for choice in shown},
            values=None if failed else self._given(values),
            user_attrs={"arch": json.dumps(arch), CONSTRAINT: 0.0},
            # What Optuna itself notes of a trial that met the limits; it does so only for those it asked for.
            system_attrs={"constraints": (0.0,)} if self._problem.cheap_limits else {},
        )

    def _parameter(self, choice: Choice, value: Value) -> Value:
        return choice.values.index(value) if self._by_index else value

    def _suggest(self, trial: optuna.Trial) -> Rows:
        """The canonical row of what the sampler suggests, choice by choice, parents first."""
        space = self._problem.space
        row = np.zeros((1, len(space.choices)), dtype=np.int64)
        for column, choice in enumerate(space.choices):
            if self._conditional and not space.active(row)[0, column]:
                continue
            row[0, column] = self._suggest_one(trial, choice)
        return space.canonical(row)[0]

    def _suggest_one(self, trial: optuna.Trial, choice: Choice) -> int:
        """The position of the value that the sampler suggests for a choice."""
        described = distribution(choice, by_index=self._by_index)
        if hasattr(described, "step"):
            number = trial.suggest_int(choice.name, described.low, described.high, step=described.step)
            return number if self._by_index else choice.values.index(number)
        return choice.values.index(trial.suggest_categorical(choice.name, choice.values))


def _states() -> Any:
    import optuna

    return optuna.trial.TrialState


def distribution(choice: Choice, *, by_index: bool = False) -> Any:
    """A choice as Optuna's distribution: numbers at even steps as numbers, all else as categories.

    Args:
        choice: what to describe.
        by_index: the position among the values in place of the value, for samplers that only take numbers.
    """
    import optuna

    values = choice.values
    if by_index:
        return optuna.distributions.IntDistribution(0, len(values) - 1)
    if len(values) > 1 and all(type(value) is int for value in values):
        steps = {int(b) - int(a) for a, b in itertools.pairwise(values)}
        if len(steps) == 1 and (step := steps.pop()) > 0:
            return optuna.distributions.IntDistribution(int(values[0]), int(values[-1]), step=step)
    return optuna.distributions.CategoricalDistribution(values)


def make_sampler(problem: Problem, name: str, seed: int) -> Any:
    """The sampler of that name, told of the limits where it can make use of them.

    Raises:
        ValueError: an unknown name; CMA-ES for several objectives or for categories, or without its package.
    """
    import optuna

    def over(trial: Any) -> list[float]:
        return [float(trial.user_attrs.get(CONSTRAINT, 0.0))]

    limited = over if problem.cheap_limits else None
    if name == "tpe":
        return optuna.samplers.TPESampler(seed=seed, constraints_func=limited)
    if name == "gp":
        return optuna.samplers.GPSampler(seed=seed, constraints_func=limited)
    if name == "nsga2":
        return optuna.samplers.NSGAIISampler(seed=seed, constraints_func=limited)
    if name == "nsga3":
        return optuna.samplers.NSGAIIISampler(seed=seed, constraints_func=limited)
    if name != "cmaes":
        raise ValueError(unknown("Optuna sampler", name, SAMPLERS))
    categories = [choice.name for choice in problem.space.choices if choice.categorical]
    if len(problem.objectives) > 1 or categories:
        why = (
            f"{len(problem.objectives)} objectives"
            if len(problem.objectives) > 1
            else f"categories ({categories[0]})"
        )
        raise ValueError(
            f"CMA-ES takes one objective and numeric choices; this search has {why}. Use optuna_tpe."
        )
    try:
        import cmaes  # type: ignore[import-not-found]  # noqa: F401
    except ImportError as error:
        raise ValueError("optuna_cmaes needs the package cmaes: pip install cmaes") from error
    return optuna.samplers.CmaEsSampler(seed=seed)


class _Mirror:
    """The study on the disk: what dashboards read. Trials it already holds are not added twice."""

    def __init__(self, study: optuna.Study | None) -> None:
        self._study = study
        self._skip = len(study.trials) if study is not None else 0

    @classmethod
    def beside(cls, problem: Problem, sampler: str, directions: list[str]) -> _Mirror:
        """The study file beside the log, made or opened; none where nothing is logged."""
        import optuna

        if problem.log is None:
            return cls(None)
        path = problem.log.with_suffix(".journal")
        path.parent.mkdir(parents=True, exist_ok=True)
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
        name = f"{problem.space.name}_{sampler}"
        names = optuna.study.get_all_study_names(storage)
        if names:
            study = optuna.load_study(study_name=names[0], storage=storage)
            found = study.user_attrs.get("space")
            if found != problem.space.fingerprint:
                raise ValueError(
                    f"{path} is a study of another space ({names[0]}, {found}), not of "
                    f"{problem.space.name!r} ({problem.space.fingerprint}); delete it or give another log"
                )
            if len(study.trials) <= sum(1 for _ in read_lines(problem.log)):
                return cls(study)
            path.unlink()  # its log was deleted: that search is not continued but begun anew
            storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
        study = optuna.create_study(study_name=name, storage=storage, directions=directions)
        study.set_user_attr("space", problem.space.fingerprint)
        return cls(study)

    def add(self, trial: Any) -> None:
        if self._study is None:
            return
        if self._skip:
            self._skip -= 1
            return
        self._study.add_trial(trial)
