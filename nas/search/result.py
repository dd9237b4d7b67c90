"""The result of a search: its trials, their front, and how the front grew."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nas.predictors.predictor import PredictorReport
from nas.search.objectives import UPPER
from nas.search.problem import Problem
from results.front import hypervolume_curve, non_dominated
from results.names import unknown
from results.records import Trial
from search_spaces.choice import Value

if TYPE_CHECKING:  # pandas takes half a second to import; a searcher needs none of it
    import pandas


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """A finished search.

    Attributes:
        trials: frame with one line a trial in the order they ended: ``trial`` (its number), ``status``
            (``ok`` or ``failed``), ``feasible``, ``on_front``, the costs and scores, ``error``, ``seconds``,
            ``worker``, then one column a choice.
        front: lines of ``trials`` on the front: scored, within the limits, not dominated. Sorted by the
            first objective, best first.
        hypervolume: hypervolume after each trial, (n trials,).
        reference: point that hypervolume is measured from, by objective. For what is measured and has no
            limit it is this search's median: give it to the searches that are compared with this one.
        archs: archs of ``front``, in its order.
        rounds: quality of the searcher's predictor, each time it was fitted; empty where it has none.
    """

    trials: pandas.DataFrame
    front: pandas.DataFrame
    hypervolume: NDArray[np.float64]
    reference: dict[str, float]
    archs: list[dict[str, Value]]
    rounds: tuple[PredictorReport, ...]


def front_of(problem: Problem, trials: Sequence[Trial]) -> list[Trial]:
    """The trials that scored, meet the limits and are not dominated; best in the first objective first."""
    good = [trial for trial in trials if trial.ok and meets(problem, trial)]
    if not good:
        return []
    scores = np.array([problem.minimised(trial.numbers) for trial in good])
    order = np.lexsort(scores.T[::-1])
    on_front = non_dominated(scores)
    return [good[i] for i in order if on_front[i]]


def meets(problem: Problem, trial: Trial) -> bool:
    """Whether a trial is within every limit: as measured, else by the upper end of the cost."""
    numbers = trial.numbers
    measured = trial.scores or {}
    held = [limit for limit in problem.limits if limit.name in measured]
    held += [limit for limit in problem.cheap_limits if limit.name.removesuffix(UPPER) not in measured]
    return all(limit.excess(np.array([numbers.get(limit.name, np.nan)]))[0] == 0 for limit in held)


def reference_point(problem: Problem, trials: Sequence[Trial]) -> dict[str, float]:
    """The worst value of each objective that counts for hypervolume.

    A limit where there is one; for a cost without a limit the worst of some samples; for what is measured
    the median of the trials within the limits. From accuracy 0, the corner of networks that nobody wants
    would outweigh all differences.
    """
    space = problem.space
    samples = np.vstack([space.sample(500, np.random.default_rng(0)), space.ends[1:]])
    costs = problem.costs(samples)
    limits = {limit.name: limit.bound for limit in problem.limits}
    good = [trial.numbers for trial in trials if trial.ok and meets(problem, trial)]
    reference = {}
    for objective in problem.objectives:
        name = objective.name
        if name in limits:
            # The limit itself is met, so it counts.
            reference[name] = limits[name] + objective.sign * 1e-9 * (abs(limits[name]) or 1.0)
        elif name in costs:
            finite = objective.sign * costs[name][np.isfinite(costs[name])]
            reference[name] = objective.sign * float(finite.max()) if len(finite) else 0.0
        else:
            reference[name] = float(np.median([numbers[name] for numbers in good])) if good else 0.0
    return reference


def check_reference(problem: Problem, reference: Mapping[str, float]) -> None:
    """Checks that a reference has one finite number for each objective and no other.

    Raises:
        ValueError: it has not.
    """
    names = [objective.name for objective in problem.objectives]
    for name in reference:
        if name not in names:
            raise ValueError(f"the reference: {unknown('objective', name, names)}")
    for name in names:
        if not math.isfinite(reference.get(name, math.nan)):
            raise ValueError(
                f"the reference needs a finite number for objective {name!r}, got {reference.get(name)}"
            )


def result_of(
    problem: Problem,
    trials: Sequence[Trial],
    *,
    reference: Mapping[str, float] | None = None,
    rounds: tuple[PredictorReport, ...] = (),
) -> SearchResult:
    """The frames of some trials; hypervolume from a reference, or from ``reference_point``."""
    import pandas as pd

    front = front_of(problem, trials)
    on_front = {trial.ticket for trial in front}
    feasible = {trial.ticket: trial.ok and meets(problem, trial) for trial in trials}
    names = list(dict.fromkeys(name for trial in trials for name in trial.numbers))
    rows = [
        {
            "trial": trial.ticket,
            "status": "ok" if trial.ok else "failed",
            "feasible": feasible[trial.ticket],
            "on_front": trial.ticket in on_front,
            **{name: trial.numbers.get(name, np.nan) for name in names},
            "error": trial.error,
            "seconds": trial.seconds,
            "worker": trial.worker,
            **trial.arch,
        }
        for trial in trials
    ]
    columns = ["trial", "status", "feasible", "on_front", *names, "error", "seconds", "worker"]
    frame = pd.DataFrame(rows, columns=[*columns, *problem.space.names])
    order = {trial.ticket: place for place, trial in enumerate(front)}
    best = frame[frame["on_front"]]
    best = best.iloc[best["trial"].map(order).argsort().to_numpy()].reset_index(drop=True)
    reference = dict(reference or reference_point(problem, trials))
    scores = np.array(
        [
            problem.minimised(trial.numbers) if feasible[trial.ticket] else np.full(len(reference), np.nan)
            for trial in trials
        ]
    ).reshape(len(trials), len(reference))
    return SearchResult(
        trials=frame,
        front=best,
        hypervolume=hypervolume_curve(scores, problem.minimised(reference)),
        reference=reference,
        archs=[dict(trial.arch) for trial in front],
        rounds=rounds,
    )
