"""Ridge regression, its strength chosen by the error of leaving each arch out once."""

from __future__ import annotations

import numpy as np

from nas.predictors.encoding import Features
from nas.predictors.predictor import Targets

STRENGTHS = np.logspace(-3, 2, 16)


class Ridge:
    """Additive effects of the features. Fitting is one decomposition; leaving one out is a formula."""

    def fit(self, features: Features, targets: Targets) -> None:
        self._mean, self._centre = float(targets.mean()), features.mean(axis=0)
        x, y = features - self._centre, targets - self._mean
        u, s, vt = np.linalg.svd(x, full_matrices=False)
        projected = u.T @ y
        best = np.inf
        for strength in STRENGTHS:
            shrink = s**2 / (s**2 + strength)
            leverage = (u**2) @ shrink + 1.0 / len(y)
            left_out = (y - u @ (shrink * projected)) / np.maximum(1.0 - leverage, 1e-3)
            error = float(np.mean(left_out**2))
            if error < best:
                best, chosen = error, strength
        self._weights = vt.T @ (s / (s**2 + chosen) * projected)
        self._error = np.sqrt(best)

    def mean(self, features: Features) -> Targets:
        return np.asarray(self._mean + (features - self._centre) @ self._weights)

    def predict(self, features: Features) -> tuple[Targets, Targets]:
        mean = self.mean(features)
        return mean, np.full(len(mean), self._error)
