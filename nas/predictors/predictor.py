"""The protocol of predictors, and reports on how good one is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nas.predictors.encoding import Features

Targets = NDArray[np.float64]


class Predictor(Protocol):
    """Learns a number from features."""

    def fit(self, features: Features, targets: Targets) -> None:
        """Fits the predictor to scored archs, (n, n features) and (n,)."""

    def mean(self, features: Features) -> Targets:
        """The expected number, (n,)."""

    def predict(self, features: Features) -> tuple[Targets, Targets]:
        """The expected number and its standard error, (n,) each."""


MakePredictor = Callable[[], Predictor]


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictorReport:
    """The quality of a predictor on archs that it was not fitted to.

    Attributes:
        name: name of the predictor.
        archs: number of scored archs.
        mean_error: mean absolute error, in the unit of the target.
        tau: Kendall's rank correlation of predicted and true, in [-1, 1].
        interval: half width of the interval that holds nine of ten errors, in the unit of the target.
    """

    name: str
    archs: int
    mean_error: float
    tau: float
    interval: float


def kendall_tau(first: Targets, second: Targets) -> float:
    """Kendall's tau-b, ties counted as such; 0 where either is constant.

    O(n²) memory: for some thousand values.
    """
    a = np.sign(first[:, None] - first[None, :])
    b = np.sign(second[:, None] - second[None, :])
    norm = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / norm) if norm > 0 else 0.0


def cross_validate(
    make: MakePredictor, features: Features, targets: Targets, rng: np.random.Generator, *, folds: int = 5
) -> tuple[Targets, Targets]:
    """Predictions and standard errors for each arch by a predictor that did not see it, (n,) each."""
    fold = rng.permutation(len(targets)) % min(folds, len(targets))
    mean, error = np.empty(len(targets)), np.empty(len(targets))
    for index in range(int(fold.max()) + 1):
        held = fold == index
        fitted = make()
        fitted.fit(features[~held], targets[~held])
        mean[held], error[held] = fitted.predict(features[held])
    return mean, error


def report_on(name: str, targets: Targets, predicted: Targets) -> PredictorReport:
    """The report on some predictions of unseen archs, (n,) each."""
    errors = np.abs(targets - predicted)
    return PredictorReport(
        name=name,
        archs=len(targets),
        mean_error=float(errors.mean()),
        tau=kendall_tau(targets, predicted),
        interval=float(np.quantile(errors, 0.9)),
    )
