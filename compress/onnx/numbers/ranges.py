"""Ranges of activations from calibration images: extremes, percentile, least squared error, least divergence.

All but the extremes read a histogram of each tensor, filled in a second run of the images. A range always
holds 0, which an 8-bit number has to stand for exactly ("Quantization and Training of Neural Networks for
Efficient Integer-Arithmetic-Only Inference", Jacob et al., CVPR 2018, section 2.1).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from compress.onnx.taps import tapped
from results.names import unknown

Range = tuple[float, float]
RangeMethod = Literal["minmax", "percentile", "mse", "entropy"]
RANGE_METHODS: tuple[RangeMethod, ...] = ("minmax", "percentile", "mse", "entropy")

BINS = 2048
PERCENTILE = 99.99
_LEVELS = 256
_FRACTIONS = np.linspace(1.0, 1 / 64, 64)
"""Shares of an end of the range that are tried in the place of the whole."""

Floats = NDArray[np.float64]


def activation_ranges(
    model: ModelProto,
    images: NDArray[np.float32],
    names: Collection[str],
    method: RangeMethod = "minmax",
    *,
    percentile: float = PERCENTILE,
    batch_size: int = 32,
) -> dict[str, Range]:
    """(low, high) by name of tensor; empty tensors have none.

    Args:
        model: a float file.
        images: calibration images, float32 (N, ...).
        names: tensors to find ranges of.
        method: way in which a range follows from what was seen.
        percentile: percent of the values that lie below the upper end, for that method, and above the lower.
        batch_size: images at a time.

    Raises:
        ValueError: no such method, values that are not finite, or a file that does not run.
    """
    if method not in RANGE_METHODS:
        raise ValueError(unknown("range method", method, RANGE_METHODS))
    extremes: dict[str, Range] = {}
    for values in tapped(model, names, images, batch_size):
        for name, array in values.items():
            if array.size:
                low, high = extremes.get(name, (np.inf, -np.inf))
                extremes[name] = (min(low, float(array.min())), max(high, float(array.max())))
    wrong = [name for name, ends in extremes.items() if not np.isfinite(ends).all()]
    if wrong:
        raise ValueError(f"{wrong[0]} is not finite on the calibration images, so it has no range")
    if method == "minmax":
        return {name: _with_zero(*ends) for name, ends in extremes.items()}
    counts = {name: np.zeros(BINS) for name in extremes}
    for values in tapped(model, names, images, batch_size):
        for name, array in values.items():
            if name in counts:
                counts[name] += np.histogram(array, BINS, _wide(extremes[name]))[0]
    return {
        name: range_of(counts[name], _wide(ends), method, percentile=percentile)
        for name, ends in extremes.items()
    }


def range_of(
    counts: NDArray[Any], ends: Range, method: RangeMethod, *, percentile: float = PERCENTILE
) -> Range:
    """The range for a histogram.

    Args:
        counts: numbers of values in bins of equal width, (bins,).
        ends: lower end of the first bin, upper end of the last.
        method: ``percentile`` cuts that share off at either end; ``mse`` has the least squared error of
            the values in 256 steps; ``entropy`` the least Kullback-Leibler divergence of the values'
            distribution after rounding from that before (Migacz, "8-bit Inference with TensorRT", 2017).
        percentile: percent of the values below the upper end.
    """
    counts = np.asarray(counts, np.float64)
    low, high = ends
    if method == "minmax" or counts.sum() == 0:
        return _with_zero(low, high)
    if method == "percentile":
        return _percentile(counts, low, high, percentile)
    centres = low + (np.arange(len(counts)) + 0.5) * (high - low) / len(counts)
    loss = _squared_error if method == "mse" else _divergence
    if method == "entropy":  # what a ReLU cut off would outweigh everything, and costs nothing: 0 is exact
        counts = counts.copy()
        zero = min(int(-min(low, 0.0) / (high - low) * len(counts)), len(counts) - 1)
        counts[zero] = counts[zero + 1] if zero + 1 < len(counts) else counts[zero - 1]
    return _search(lambda ends: loss(counts, centres, *ends), _with_zero(low, high))


def _with_zero(low: float, high: float) -> Range:
    return min(low, 0.0), max(high, 0.0)


def _wide(ends: Range) -> Range:
    """The ends of a histogram: they hold zero, and differ by more than float32 can tell apart."""
    low, high = _with_zero(*ends)
    return low, max(high, low + 1e-30)


def _percentile(counts: Floats, low: float, high: float, percentile: float) -> Range:
    below = np.cumsum(counts) / counts.sum()
    width, share = (high - low) / len(counts), percentile / 100
    upper = low + width * (int(np.searchsorted(below, share - 1e-12)) + 1)
    lower = low + width * int(np.searchsorted(below, 1 - share + 1e-12))
    return _with_zero(max(lower, low), min(upper, high))


def _search(loss: Callable[[Range], float], ends: Range) -> Range:
    """The best ends, each a share of what they are: one after the other, twice."""
    low, high = ends
    best = loss(ends)
    for _ in range(2):
        for upper in (True, False):
            if not (ends[1] if upper else ends[0]):
                continue
            for share in _FRACTIONS:
                tried = (low, share * ends[1]) if upper else (share * ends[0], high)
                found = loss(tried)
                if found < best:
                    best, (low, high) = found, tried
    return low, high


def _squared_error(counts: Floats, centres: Floats, low: float, high: float) -> float:
    step = (high - low) / (_LEVELS - 1)
    zero = np.rint(-low / step)
    rounded = (np.clip(np.rint(centres / step) + zero, 0, _LEVELS - 1) - zero) * step
    return float((counts * (centres - rounded) ** 2).sum())


def _divergence(counts: Floats, centres: Floats, low: float, high: float) -> float:
    inside = (centres >= low) & (centres <= high)
    if not inside.any():
        return np.inf
    kept = counts[inside]
    clipped = kept.copy()  # what lies outside comes to the ends
    clipped[0] += counts[centres < low].sum()
    clipped[-1] += counts[centres > high].sum()
    level = np.minimum(np.arange(len(kept)) * _LEVELS // max(len(kept), _LEVELS), _LEVELS - 1)
    used = kept > 0
    sums = np.bincount(level, kept, _LEVELS)
    lengths = np.bincount(level, used, _LEVELS)
    spread = np.where(used, (sums / np.maximum(lengths, 1))[level], 0.0)
    if not spread.sum():
        return np.inf
    p, q = clipped / clipped.sum(), spread / spread.sum()
    here = p > 0
    return float((p[here] * np.log(p[here] / np.maximum(q[here], 1e-9))).sum())
