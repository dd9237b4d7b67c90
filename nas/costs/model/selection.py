"""Choice of the networks to measure: those that tell most about all the others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas.costs.layers.sums import Floats
from nas.costs.model.correction import STRENGTH
from nas.costs.model.features import Terms


def select_networks(terms: Terms, n: int, first: int) -> NDArray[np.int64]:
    """Indices of n networks after whose measurement the latencies of all are known best.

    Each next one lowers the mean variance of the predictions most (the greedy form of an I-optimal design;
    Krause et al., "Near-Optimal Sensor Placements in Gaussian Processes", JMLR 2008), under the prior and
    the noise of ``fit_correction``. Neither needs a latency of a network, only those of the layers. Which
    kind changes later layers and which cache size is the device's is not known yet: the terms of all
    take part.

    Args:
        terms: features of the networks to choose from.
        n: how many to choose, at most as many as there are.
        first: so many of the first are chosen in any case.
    """
    covariance = _covariance(terms)
    chosen: list[int] = []
    for step in range(min(n, len(covariance))):
        if step < first:
            best = step
        else:
            gains = (covariance**2).sum(axis=0) / (np.diag(covariance) + 1.0)
            gains[chosen] = -1.0
            best = int(np.argmax(gains))
        chosen.append(best)
        seen = covariance[:, best]
        covariance = covariance - np.outer(seen, seen) / (covariance[best, best] + 1.0)
    return np.array(chosen, dtype=np.int64)


def _covariance(terms: Terms) -> Floats:
    """Covariance of the relative latencies under the prior, in units of the variance of the noise, (n, n)."""
    spreads = terms.spreads()
    plain = terms.features("", float("inf"))
    blocks = [plain * spreads]
    for kind in terms.after:
        blocks.append((terms.features(kind, float("inf")) - plain) * spreads)
    for size in terms.cache_sizes:
        blocks.append((terms.features("", size) - plain) * spreads)
    scaled = np.hstack(blocks) / terms.sums_ms[:, None]
    return np.asarray(scaled @ scaled.T / STRENGTH)
