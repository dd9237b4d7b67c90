"""The choice of a predictor: all are tried on archs they did not see, the best is fitted to all archs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.predictors.encoding import Features
from nas.predictors.predictor import (
    MakePredictor,
    Predictor,
    PredictorReport,
    Targets,
    cross_validate,
    report_on,
)
from nas.predictors.process import Process
from nas.predictors.ridge import Ridge
from nas.predictors.trees import Trees

LEAST = 8
"""Archs below which predictors are not worth fitting."""


class Ensemble:
    """The mean of some predictors; they disagree where little is known, and the standard error says so."""

    def __init__(self, members: list[Predictor]) -> None:
        self._members = members

    def fit(self, features: Features, targets: Targets) -> None:
        for member in self._members:
            member.fit(features, targets)

    def mean(self, features: Features) -> Targets:
        return np.asarray(np.mean([member.mean(features) for member in self._members], axis=0))

    def predict(self, features: Features) -> tuple[Targets, Targets]:
        told = [member.predict(features) for member in self._members]
        means = np.array([mean for mean, _ in told])
        errors = np.array([error for _, error in told])
        return means.mean(axis=0), np.sqrt((errors**2).mean(axis=0) + means.var(axis=0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """The chosen predictor, fitted, and reports on all.

    Attributes:
        predictor: best predictor in cross-validation, fitted to all archs.
        report: its quality on archs that it did not see.
        others: reports on the predictors that were not chosen.
    """

    predictor: Predictor
    report: PredictorReport
    others: tuple[PredictorReport, ...]


def predictors(blocks: NDArray[np.int64]) -> dict[str, MakePredictor]:
    """The candidates by name; their mean is one more.

    Args:
        blocks: block of each feature, (n features,), as ``Encoding.blocks``.
    """
    return {
        "ridge": Ridge,
        "trees": Trees,
        "process": lambda: Process(blocks),
    }


def select(
    candidates: Mapping[str, MakePredictor],
    features: Features,
    targets: Targets,
    rng: np.random.Generator,
) -> Selected:
    """The candidate, or the mean of all, with the least squared error in five-fold cross-validation.

    It comes fitted to all archs.

    Args:
        candidates: predictors by name, as ``predictors`` gives them.
        features: features of scored archs, (n, n features).
        targets: scores, (n,).
        rng: generator of the folds, which are the same for all candidates.

    Raises:
        ValueError: too few archs, or scores that are not finite.
    """
    if len(targets) < LEAST:
        raise ValueError(f"predictors are chosen from at least {LEAST} scored archs, got {len(targets)}")
    if not np.isfinite(targets).all():
        raise ValueError("predictors learn from finite scores; leave failed archs out")
    seed = int(rng.integers(2**31))
    unseen = {
        name: cross_validate(make, features, targets, np.random.default_rng(seed))[0]
        for name, make in candidates.items()
    }
    unseen["ensemble"] = np.mean(list(unseen.values()), axis=0)
    reports = {name: report_on(name, targets, mean) for name, mean in unseen.items()}
    best = min(unseen, key=lambda name: float(np.mean((unseen[name] - targets) ** 2)))
    chosen = Ensemble([make() for make in candidates.values()]) if best == "ensemble" else candidates[best]()
    chosen.fit(features, targets)
    others = tuple(report for name, report in reports.items() if name != best)
    return Selected(predictor=chosen, report=reports[best], others=others)
