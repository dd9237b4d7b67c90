"""Boosted regression trees (scikit-learn's), for effects that depend on one another."""

from __future__ import annotations

import numpy as np

from nas.predictors.encoding import Features
from nas.predictors.predictor import Targets


class Trees:
    """Gradient-boosted trees; the standard error is that on a fifth held back from a first fit.

    Args:
        seed: seed of subsampling.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed

    def fit(self, features: Features, targets: Targets) -> None:
        held = np.random.default_rng(self._seed).permutation(len(targets)) < len(targets) // 5
        first = self._boosted(features[~held], targets[~held])
        left = targets[held] - first.predict(features[held]) if held.any() else targets - targets.mean()
        self._error = float(np.sqrt(np.mean(left**2)))
        self._model = self._boosted(features, targets)

    def _boosted(self, features: Features, targets: Targets):  # type: ignore[no-untyped-def]
        from sklearn.ensemble import GradientBoostingRegressor

        model = GradientBoostingRegressor(
            n_estimators=80, max_depth=3, learning_rate=0.12, subsample=0.7, random_state=self._seed
        )
        return model.fit(features, targets)

    def mean(self, features: Features) -> Targets:
        return np.asarray(self._model.predict(features))

    def predict(self, features: Features) -> tuple[Targets, Targets]:
        mean = self.mean(features)
        return mean, np.full(len(mean), self._error)
