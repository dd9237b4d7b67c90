"""The features of an arch that predictors read: the value of each choice, its size, and the arch's costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from search_spaces.space import Rows, SearchSpace

Features = NDArray[np.float64]


class Encoding:
    """Features of a space, in blocks: one block a choice, one a cost.

    A category is one-hot; a number is one-hot and its place among the values, in [0, 1], so that both "5x5 is
    odd one out" and "bigger is better" can be learnt. A choice that is inactive is all zeros. Squared
    distance within a block is at most 1. A cost is its logarithm, scaled to the costs of some samples.

    Args:
        space: space of archs.
        costs: function from canonical rows to (n,) arrays of costs that need no evaluation.

    Attributes:
        blocks: block of each feature, (n features,).
        n_blocks: number of blocks.
    """

    def __init__(
        self,
        space: SearchSpace,
        costs: Callable[[Rows], Mapping[str, NDArray[np.float64]]] | None = None,
    ) -> None:
        self.space = space
        self._costs = costs
        ordered = ~space.categorical & (space.n_values > 2)
        self._ordered = np.flatnonzero(ordered)
        one_hot = np.repeat(np.arange(len(space.choices)), space.n_values)
        self._scale = np.where(ordered[one_hot], 0.5, np.sqrt(0.5))
        self._names: tuple[str, ...] = ()
        blocks = [one_hot, self._ordered]
        if costs is not None:
            logs = self._logs(space.sample(1000, np.random.default_rng(0)))
            spread = {name: (float(np.mean(values)), float(np.std(values))) for name, values in logs.items()}
            self._spread = {name: pair for name, pair in spread.items() if pair[1] > 1e-9}
            self._names = tuple(self._spread)
            blocks.append(len(space.choices) + np.arange(len(self._names)))
        self.blocks = np.concatenate(blocks)
        self.n_blocks = len(space.choices) + len(self._names)

    def _logs(self, rows: Rows) -> dict[str, NDArray[np.float64]]:
        assert self._costs is not None
        costs = self._costs(rows)
        logs = {}
        for name, values in costs.items():
            log = np.log(np.maximum(np.asarray(values, dtype=np.float64), 1e-12))
            finite = np.isfinite(log)
            logs[name] = np.where(finite, log, log[finite].max(initial=0.0))
        return logs

    def __call__(self, rows: Rows) -> Features:
        """Features of canonical rows, (n, n features)."""
        parts = [self.space.one_hot(rows) * self._scale]
        if len(self._ordered):
            place = rows[:, self._ordered] / (self.space.n_values[self._ordered] - 1)
            parts.append(place * self.space.active(rows)[:, self._ordered] * np.sqrt(0.5))
        if self._names:
            logs = self._logs(rows)
            columns = [(logs[name] - mean) / spread for name, (mean, spread) in self._spread.items()]
            parts.append(np.stack(columns, axis=1))
        return np.concatenate(parts, axis=1)
