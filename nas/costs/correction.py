"""From a sum over layers to a network's latency: a small robust correction fitted on whole networks.

Layers differ from layers in a network in four ways, each a term of the correction. A call of the runtime
has a price that a network pays once (a slope and an offset). A layer kind may meet its neighbours in another
memory layout, or fuse with them (an amount per layer of the kind, and one per byte of its inputs and
outputs, which is what a change of layout moves). A kind may leave its output in
another layout for all later layers of that shape: in ONNX Runtime a pooling does, and additions after
it no longer fuse with convolutions (an amount per later layer, and one per byte, for the kind of which it is
clearest, if any). And the weights of one layer stay in the processor's cache,
where those of a network larger than the cache are read anew in every run (an amount per byte of weights,
once they outgrow a size that is fitted).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Where weights outgrow the cache, in bytes; or never, which is written as infinity.
CACHE_BYTES = tuple(2.0**power for power in range(18, 26))


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """slope * sum + offset + per_kind . counts + per_byte . bytes + after + per_spilled_byte * spilled.

    Attributes:
        slope: on the sum of the layers' latencies.
        offset_ms: once per network.
        per_kind_ms: once per layer of each kind.
        per_byte_ms: per byte of inputs and outputs of the layers of each kind.
        after: the kind that changes how later layers of the same shape run; empty where none does.
        per_later_ms: once per later layer of another kind.
        per_later_byte_ms: per byte of its inputs and outputs.
        ms_per_spilled_byte: per byte of weights that does not stay in the cache.
        cache_bytes: the fitted size of the cache.
    """

    slope: float
    offset_ms: float
    per_kind_ms: tuple[float, ...]
    per_byte_ms: tuple[float, ...]
    after: str
    per_later_ms: float
    per_later_byte_ms: float
    ms_per_spilled_byte: float
    cache_bytes: float

    def after_ms(self, kinds: Sequence[str], activation_bytes: Floats) -> Floats:
        """What each layer takes more when it comes after one of the kind ``after``, (n layers,)."""
        other = np.array([kind != self.after for kind in kinds])
        return np.asarray(other * (self.per_later_ms + self.per_later_byte_ms * activation_bytes))

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
    after: Mapping[str, Floats],
    strength: float = 1e-2,
) -> tuple[Correction, Floats]:
    """Fits by ridge regression of relative errors towards the plain sum, outliers weighted down (Huber).

    The kind that changes later layers and the cache size are those that make the measurements most probable.

    Args:
        sums_ms: of the layers' latencies, (n,).
        counts: layers of each kind, (n, kinds).
        moved_bytes: inputs and outputs of the layers of each kind, (n, kinds).
        weight_bytes: (n,).
        measured_ms: latencies of the networks, (n,).
        after: for each kind that may change later layers, how many of them there are and their inputs' and
            outputs' bytes, (n, 2).
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
    layer_ms = 0.3 * float(np.median(sums_ms / counts.sum(axis=1)))
    byte_ms = layer_ms / max(float(np.median(moved_bytes.sum(axis=1) / counts.sum(axis=1))), 1.0)
    # How far each coefficient may be expected from its prior: a ridge needs them in one unit.
    spread = np.array(
        [
            *(0.3, 0.1 * typical, *[layer_ms] * kinds, *[byte_ms] * kinds),
            *(2 * layer_ms, 2 * byte_ms, typical / max(weight_bytes.max(), 1.0)),
        ]
    )

    def features(kind: str, cache_bytes: float) -> Floats:
        later = after.get(kind, np.zeros((n, 2)))
        spill = spilled(weight_bytes, cache_bytes)
        return np.column_stack([sums_ms, np.ones(n), counts, moved_bytes, later, spill])

    sizes = [size for size in CACHE_BYTES if spilled(weight_bytes, size).max() >= 0.05 * size]
    kind, cache_bytes = max(
        itertools.product(("", *after), sizes or (float("inf"),)),
        key=lambda candidate: _evidence(features(*candidate), measured_ms, spread, strength),
    )
    chosen = features(kind, cache_bytes)
    left_out = [
        chosen[i] @ _ridge(np.delete(chosen, i, 0), np.delete(measured_ms, i), spread, strength)
        for i in range(n)
    ]
    values = [float(value) for value in _ridge(chosen, measured_ms, spread, strength)]
    correction = Correction(
        slope=values[0],
        offset_ms=values[1],
        per_kind_ms=tuple(values[2 : 2 + kinds]),
        per_byte_ms=tuple(values[2 + kinds : 2 + 2 * kinds]),
        after=kind,
        per_later_ms=values[-3],
        per_later_byte_ms=values[-2],
        ms_per_spilled_byte=values[-1],
        cache_bytes=cache_bytes,
    )
    return correction, np.array(left_out)


def _evidence(features: Floats, measured_ms: Floats, spread: Floats, strength: float) -> float:
    """Log of how probable the measurements are under a model, its coefficients integrated out.

    Bayesian linear regression with the prior of ``_ridge`` (Bishop, "Pattern Recognition and Machine
    Learning", section 3.5), the noise at its most probable: it is steadier with 30 networks than comparing
    the errors of left-out ones.
    """
    scaled, target = _relative(features, measured_ms, spread)
    n = len(target)
    covariance = np.eye(n) + scaled @ scaled.T / strength
    noise = float(target @ np.linalg.solve(covariance, target)) + 1e-9
    return -0.5 * n * float(np.log(noise)) - 0.5 * float(np.linalg.slogdet(covariance)[1])


def _relative(features: Floats, measured_ms: Floats, spread: Floats) -> tuple[Floats, Floats]:
    """Features in units of their spreads, and what the plain sum lacks, both relative to the measured."""
    return features * spread / measured_ms[:, None], 1.0 - features[:, 0] / measured_ms


def _ridge(features: Floats, measured_ms: Floats, spread: Floats, strength: float) -> Floats:
    """Iteratively reweighted least squares of relative residuals with a Gaussian prior at the plain sum."""
    prior = np.zeros(features.shape[1])
    prior[0] = 1.0
    scaled, target = _relative(features, measured_ms, spread)
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
