"""Correction of a sum over layers to a network's latency: small, robust, fitted on whole networks.

Layers differ from layers in a network in six ways, each a term of the correction. A call of the runtime
has a price that a network pays once (a slope and an offset). A layer kind may meet its neighbours in another
memory layout, or fuse with them (an amount per layer of the kind, and one per byte of its inputs and
outputs, which is what a change of layout moves). A kind may leave its output in
another layout for all later layers of that shape: in ONNX Runtime a pooling does, and additions after
it no longer fuse with convolutions (an amount per later layer, and one per byte, for the kind of which it is
clearest, if any). The weights of one layer stay in the processor's cache,
where those of a network larger than the cache are read anew in every run (an amount per byte of weights,
once they outgrow a size that is fitted). Where float meets int8 numbers are converted (an amount each time,
and one per number). And each layer was measured with an error of its own (a share of
it).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nas.costs.layers.sums import Floats
from nas.costs.model.features import Terms, spilled

STRENGTH = 3e-3  # of the pull towards the plain sum
_LEAST_SHARE = 0.05  # of what a layer takes by the table that is left of it at least


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """(slope + per_layer) . layers + offset + per_kind . counts + per_byte . bytes + after + spill + border.

    Attributes:
        slope: factor on the sum of the layers' latencies.
        offset_ms: once per network.
        per_layer: factor on the latency of each layer, beside the slope.
        per_kind_ms: once per layer of each kind.
        per_byte_ms: per byte of inputs and outputs of the layers of each kind.
        after: the kind that changes how later layers of the same shape run; empty where none does.
        per_later_ms: once per later layer of another kind.
        per_later_byte_ms: per byte of its inputs and outputs.
        ms_per_spilled_byte: per byte of weights that does not stay in the cache.
        cache_bytes: the fitted size of the cache.
        per_border_ms: each time that float meets int8 in a network; never less than nothing.
        per_converted_ms: per number that is converted there, likewise.
    """

    slope: float
    offset_ms: float
    per_layer: tuple[float, ...]
    per_kind_ms: tuple[float, ...]
    per_byte_ms: tuple[float, ...]
    after: str
    per_later_ms: float
    per_later_byte_ms: float
    ms_per_spilled_byte: float
    cache_bytes: float
    per_border_ms: float = 0.0
    per_converted_ms: float = 0.0

    def layers_ms(self, layer_ms: Floats, kinds: Sequence[str], activation_bytes: Floats) -> Floats:
        """What each layer adds to a network, (layers,), but for what comes before it; infinite stays so."""
        names = sorted(set(kinds))
        which = np.array([names.index(kind) for kind in kinds])
        share = np.maximum(self.slope + np.array(self.per_layer), _LEAST_SHARE)
        own = np.array(self.per_kind_ms)[which] + np.array(self.per_byte_ms)[which] * activation_bytes
        return np.asarray(share * layer_ms + own)

    def after_ms(self, kinds: Sequence[str], activation_bytes: Floats) -> Floats:
        """What each layer takes more when it comes after one of the kind ``after``, (layers,)."""
        other = np.array([kind != self.after for kind in kinds])
        return np.asarray(other * (self.per_later_ms + self.per_later_byte_ms * activation_bytes))

    def add_spill(self, latency_ms: Floats, weight_bytes: Floats) -> Floats:
        """Latencies with the price of weights that do not stay in the cache, (n,)."""
        return latency_ms + self.ms_per_spilled_byte * spilled(weight_bytes, self.cache_bytes)


def fit_correction(terms: Terms, measured_ms: Floats) -> tuple[Correction, Floats]:
    """Fits by ridge regression of relative errors towards the plain sum, outliers weighted down (Huber).

    The kind that changes later layers and the cache size are those that make the measurements most probable.

    Args:
        terms: features of n networks.
        measured_ms: their latencies, (n,).

    Returns:
        The correction, and for each network what a fit without it predicts for it, (n,), in ms.

    Raises:
        ValueError: fewer than five networks.
    """
    n, kinds = terms.counts.shape
    if n < 5:
        raise ValueError(f"a correction needs at least 5 measured networks, got {n}")
    spreads = terms.spreads()
    kind, cache_bytes = max(
        itertools.product(("", *terms.after), terms.cache_sizes),
        key=lambda candidate: _evidence(terms.features(*candidate), measured_ms, spreads),
    )
    chosen = terms.features(kind, cache_bytes)
    left_out = [
        chosen[i] @ _ridge(np.delete(chosen, i, 0), np.delete(measured_ms, i), spreads) for i in range(n)
    ]
    values = [float(value) for value in _ridge(chosen, measured_ms, spreads)]
    slope, offset_ms, per_later_ms, per_later_byte_ms, ms_per_spilled_byte, *rest = values
    per_border_ms, per_converted_ms, *rest = rest
    correction = Correction(
        slope=slope,
        offset_ms=offset_ms,
        per_kind_ms=tuple(rest[:kinds]),
        per_byte_ms=tuple(rest[kinds : 2 * kinds]),
        per_layer=tuple(rest[2 * kinds :]),
        after=kind,
        per_later_ms=per_later_ms,
        per_later_byte_ms=per_later_byte_ms,
        ms_per_spilled_byte=ms_per_spilled_byte,
        cache_bytes=cache_bytes,
        per_border_ms=max(0.0, per_border_ms),
        per_converted_ms=max(0.0, per_converted_ms),
    )
    return correction, np.array(left_out)


def _evidence(features: Floats, measured_ms: Floats, spreads: Floats) -> float:
    """Log of how probable the measurements are under a model, its coefficients integrated out.

    Bayesian linear regression with the prior of ``_ridge`` (Bishop, "Pattern Recognition and Machine
    Learning", section 3.5), the noise at its most probable: it is steadier with 30 networks than comparing
    the errors of left-out ones.
    """
    scaled, target = _relative(features, measured_ms, spreads)
    n = len(target)
    covariance = np.eye(n) + scaled @ scaled.T / STRENGTH
    noise = float(target @ np.linalg.solve(covariance, target)) + 1e-9
    return -0.5 * n * float(np.log(noise)) - 0.5 * float(np.linalg.slogdet(covariance)[1])


def _relative(features: Floats, measured_ms: Floats, spreads: Floats) -> tuple[Floats, Floats]:
    """Features in units of their spreads, and what the plain sum lacks, both relative to the measured."""
    return features * spreads / measured_ms[:, None], 1.0 - features[:, 0] / measured_ms


def _ridge(features: Floats, measured_ms: Floats, spreads: Floats) -> Floats:
    """Iteratively reweighted least squares of relative residuals with a Gaussian prior at the plain sum.

    Solved for a weight of each network rather than of each feature, of which there are more.
    """
    prior = np.zeros(features.shape[1])
    prior[0] = 1.0
    scaled, target = _relative(features, measured_ms, spreads)
    gram = scaled @ scaled.T / STRENGTH
    variances: Floats = np.ones(len(measured_ms))
    dual: Floats = np.zeros(len(measured_ms))
    for _ in range(10):
        dual = np.asarray(np.linalg.solve(gram + np.diag(variances), target), dtype=np.float64)
        residuals = np.abs(target - gram @ dual)
        scale = 1.4826 * float(np.median(residuals)) + 1e-6
        variances = np.asarray(np.maximum(1.0, residuals / (1.5 * scale)), dtype=np.float64)
    return prior + spreads * (scaled.T @ dual) / STRENGTH
