"""From a sum over layers to a network's latency: a small robust correction fitted on whole networks.

Layers differ from layers in a network in three ways, each a term of the correction. A call of the runtime
has a price that a network pays once (a slope and an offset). A layer kind may meet its neighbours in another
memory layout, or fuse with them (an amount per layer of the kind, and one per byte of its inputs and
outputs, which is what a change of layout moves). And the weights of one layer stay in the processor's cache,
where those of a network larger than the cache are read anew in every run (an amount per byte of weights,
once they outgrow a size that is fitted).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Where weights begin to outgrow the cache, in bytes; infinity is a network that never does.
CACHE_BYTES = (float("inf"), *(2.0**power for power in range(18, 26)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """slope * sum + offset + per_kind . counts + per_byte . bytes + per_spilled_byte * spilled(weights).

    Attributes:
        slope: on the sum of the layers' latencies.
        offset_ms: once per network.
        per_kind_ms: once per layer of each kind.
        per_byte_ms: per byte of inputs and outputs of the layers of each kind.
        ms_per_spilled_byte: per byte of weights that does not stay in the cache.
        cache_bytes: the fitted size of the cache.
    """

    slope: float
    offset_ms: float
    per_kind_ms: tuple[float, ...]
    per_byte_ms: tuple[float, ...]
    ms_per_spilled_byte: float
    cache_bytes: float

    def add_spill(self, latency_ms: Floats, weight_bytes: Floats) -> Floats:
        """Latencies with the price of weights that do not stay in the cache, (n,)."""
        return latency_ms + self.ms_per_spilled_byte * spilled(weight_bytes, self.cache_bytes)


def spilled(weight_bytes: Floats, cache_bytes: float) -> Floats:
    """Bytes of weights read from beyond the cache in each run.

    Caches are shared with activations and evict imperfectly, so spilling starts at a third of the size and
    is complete at all of it.
    """
    if not np.isfinite(cache_bytes):
        return np.zeros_like(weight_bytes)
    share = np.clip((weight_bytes / cache_bytes - 1 / 3) * 1.5, 0, 1)
    return np.asarray(weight_bytes * share)


def fit_correction(
    sums_ms: Floats,
    counts: Floats,
    moved_bytes: Floats,
    weight_bytes: Floats,
    measured_ms: Floats,
    *,
    strength: float = 3e-3,
) -> tuple[Correction, Floats]:
    """Fits by ridge regression of relative errors towards the plain sum, outliers weighted down (Huber).

    The cache size is the candidate whose fit predicts left-out networks best.

    Args:
        sums_ms: of the layers' latencies, (n,).
        counts: layers of each kind, (n, kinds).
        moved_bytes: inputs and outputs of the layers of each kind, (n, kinds).
        weight_bytes: (n,).
        measured_ms: latencies of the networks, (n,).
        strength: of the pull towards the plain sum.

    Returns:
        The correction, and for each network what a fit without it predicts for it, (n,), in ms.

    Raises:
        ValueError: fewer than five networks.
    """
    n, kinds = counts.shape
    if n < 5:
        raise ValueError(f"a correction needs at least 5 measured networks, got {n}")
    typical = float(np.median(measured_ms))
    typical_layer = float(np.median(sums_ms / counts.sum(axis=1)))
    typical_bytes = float(np.median(moved_bytes.sum(axis=1) / counts.sum(axis=1)))
    best: tuple[float, float, Floats, Floats] | None = None
    for cache_bytes in CACHE_BYTES:
        spill = spilled(weight_bytes, cache_bytes)
        if np.isfinite(cache_bytes) and spill.max() < 0.05 * cache_bytes:
            continue  # next to nothing spills: no candidate of its own
        features = np.column_stack([sums_ms, np.ones(n), counts, moved_bytes, spill])
        # How far each coefficient may be expected from its prior: a ridge needs them in one unit.
        spread = np.array(
            [
                0.3,
                0.1 * typical,
                *[0.3 * typical_layer] * kinds,
                *[0.3 * typical_layer / max(typical_bytes, 1.0)] * kinds,
                typical / max(weight_bytes.max(), 1.0),
            ]
        )
        left_out = np.array(
            [
                features[i] @ _ridge(np.delete(features, i, 0), np.delete(measured_ms, i), spread, strength)
                for i in range(n)
            ]
        )
        error = float(np.mean(np.abs(left_out / measured_ms - 1)))
        if best is None or error < 0.97 * best[0]:  # a later candidate has to be clearly better
            best = (error, cache_bytes, left_out, _ridge(features, measured_ms, spread, strength))
    assert best is not None
    _, cache_bytes, left_out, fitted = best
    correction = Correction(
        slope=float(fitted[0]),
        offset_ms=float(fitted[1]),
        per_kind_ms=tuple(float(value) for value in fitted[2 : 2 + kinds]),
        per_byte_ms=tuple(float(value) for value in fitted[2 + kinds : -1]),
        ms_per_spilled_byte=float(fitted[-1]),
        cache_bytes=cache_bytes,
    )
    return correction, left_out


def _ridge(features: Floats, measured_ms: Floats, spread: Floats, strength: float) -> Floats:
    """Iteratively reweighted least squares of relative residuals with a Gaussian prior at the plain sum."""
    prior = np.zeros(features.shape[1])
    prior[0] = 1.0
    scaled = features * spread / measured_ms[:, None]
    target = 1.0 - features @ prior / measured_ms
    weights: Floats = np.ones(len(measured_ms))
    solution: Floats = np.zeros(len(prior))
    for _ in range(10):
        weighted = scaled * weights[:, None]
        gram = weighted.T @ scaled + strength * np.eye(len(prior))
        solution = np.asarray(np.linalg.solve(gram, weighted.T @ target), dtype=np.float64)
        residuals = np.abs(target - scaled @ solution)
        scale = 1.4826 * float(np.median(residuals)) + 1e-6
        weights = np.asarray(np.minimum(1.0, 1.5 * scale / np.maximum(residuals, 1e-12)), dtype=np.float64)
    return prior + spread * solution
