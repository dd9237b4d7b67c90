"""Acquisition functions: the improvement to be expected of an arch that was not scored.

For one objective the expected improvement of "Efficient Global Optimization of Expensive Black-Box
Functions" (Jones et al., 1998). For several, the improvement of a scalar of them with weights drawn anew
for each proposal, as in "ParEGO" (Knowles, 2006); different here: a cost that needs no evaluation enters
with its true value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.search.objectives import Scores
from results.front import non_dominated

Values = NDArray[np.float64]
_SLICES = 24  # their middles say as much as some hundred draws would


def normal_tail(z: Values) -> tuple[Values, Values]:
    """Density and distribution function of the standard normal at z."""
    from scipy.special import ndtr

    return np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi), ndtr(z)


def expected_improvement(mean: Values, error: Values, best: float) -> Values:
    """The expected improvement of normally distributed scores below ``best``, (n,)."""
    z = (best - mean) / error
    density, below = normal_tail(z)
    # Far from the best both terms vanish; the last one keeps such archs in order.
    return np.maximum(error * (z * below + density), 0.0) + 1e-12 * (z - z.max(initial=0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    """Several objectives as one number, less being better: the augmented Chebyshev distance.

    Attributes:
        weights: weight of each objective, summing to 1.
        low: best value of each objective on the front.
        span: distance from there to the worst value on the front.
    """

    weights: Values
    low: Values
    span: Values

    def __call__(self, scores: Scores) -> Values:
        """(..., n objectives) to (...)."""
        scaled = (scores - self.low) / self.span * self.weights
        return np.asarray(scaled.max(axis=-1) + 0.05 * scaled.sum(axis=-1))


def draw_scalar(scores: Scores, rng: np.random.Generator, *, first_share: float) -> Scalar:
    """A scalar with weights drawn evenly from the simplex; now and then the first objective almost alone.

    Args:
        scores: minimised scores of archs that meet the limits, (n, n objectives).
        rng: generator of the weights.
        first_share: share of draws with the first objective almost alone. Its best at a limit is wanted most.
    """
    front = scores[non_dominated(scores)]
    low = front.min(axis=0)
    span = np.maximum(front.max(axis=0) - low, 1e-3 * (np.abs(low) + 1e-9))
    weights = rng.dirichlet(np.ones(scores.shape[1]))
    if rng.random() < first_share:
        weights = np.full(scores.shape[1], 1e-3)
        weights[0] = 1.0
    return Scalar(weights=weights / weights.sum(), low=low, span=span)


def normal_quantiles() -> Values:
    """The middles of 24 slices of equal probability of the standard normal, (24,)."""
    from scipy.special import ndtri

    return np.asarray(ndtri((np.arange(_SLICES) + 0.5) / _SLICES))
