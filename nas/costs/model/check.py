"""How far predictions are to be trusted: predicted against measured on networks that took no part."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from nas.costs.layers.sums import Floats
from nas.costs.model.latency import LatencyModel
from results.records import LatencyCheck
from search_spaces.space import Rows


def check_latency(
    model: LatencyModel, rows: Rows, measured_ms: Floats, again_ms: Floats | None = None
) -> LatencyCheck:
    """Compares a model with networks it has not seen.

    Args:
        model: latency model whose fit and whose intervals have seen none of ``rows``.
        rows: networks as canonical rows, (n, n choices).
        measured_ms: measured latency of each network, (n,).
        again_ms: latency of the same networks measured a second time, (n,).

    Raises:
        ValueError: there are no networks.
    """
    if not len(rows):
        raise ValueError("there is no measured network to check the predictions against")
    latency, upper = model.predict(rows)
    low, high = model.interval(rows)
    errors = np.abs(latency / measured_ms - 1)
    noise = np.array([]) if again_ms is None else again_ms / measured_ms - 1
    rank = float(stats.spearmanr(latency, measured_ms)[0]) if len(rows) > 2 else math.nan
    return LatencyCheck(
        networks=len(rows),
        mape=float(errors.mean()),
        within_5_percent=float(np.mean(errors <= 0.05)),
        within_10_percent=float(np.mean(errors <= 0.10)),
        spearman=rank if math.isfinite(rank) else None,  # equal latencies have no order
        coverage=float(np.mean((low <= measured_ms) & (measured_ms <= high))),
        upper_coverage=float(np.mean(measured_ms <= upper)),
        confidence=model.confidence,
        noise_floor=float(np.mean(np.abs(noise))) if len(noise) else None,
        # Both measurements carry the noise; a perfect prediction would meet one of them, so it is off by
        # their difference over the square root of two.
        ceiling_within_5_percent=(float(np.mean(np.abs(noise) / np.sqrt(2) <= 0.05)) if len(noise) else None),
        predicted_ms=tuple(map(float, latency)),
        low_ms=tuple(map(float, low)),
        high_ms=tuple(map(float, high)),
        measured_ms=tuple(map(float, measured_ms)),
        again_ms=() if again_ms is None else tuple(map(float, again_ms)),
    )
