"""How big archs are, cheaply enough to be asked for some dozens of them in every training step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nas.costs.counts.analytic import AnalyticCosts
from nas.rules.moment import Floats, Size
from search_spaces.space import Rows, SearchSpace

_COUNTED = 64  # networks of a space that only builds


def macs_of(costs: AnalyticCosts, *, seed: int) -> Size:
    """MACs of archs.

    A space with layers is counted exactly. Counting whole networks of a space that only builds would take
    longer than training them, so log MACs are fitted on a sample: good enough to draw by, and no more.

    Args:
        costs: costs of the space whose archs are asked for.
        seed: seed of the sample.
    """
    space = costs.space
    return costs.macs if costs.layers.exact else _fitted(space, costs.macs, np.random.default_rng([seed, 2]))


def _fitted(space: SearchSpace, macs: Callable[[Rows], Floats], rng: np.random.Generator) -> Size:
    """exp of a ridge regression of log MACs on the choices, one weight for each value."""
    rows = np.concatenate([space.ends, space.sample(_COUNTED, rng)])
    features = np.hstack([space.one_hot(rows), np.ones((len(rows), 1))])
    logs = np.log(np.maximum(macs(rows), 1.0))
    penalty = 1e-2 * np.eye(features.shape[1])
    weights = np.linalg.solve(features.T @ features + penalty, features.T @ logs)

    def size(rows: Rows) -> Floats:
        return np.asarray(np.exp(space.one_hot(rows) @ weights[:-1] + weights[-1]))

    return size
