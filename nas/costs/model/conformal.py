"""Prediction intervals from how wrong predictions were on networks they had not seen."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats


def upper_ratio(ratios: Sequence[float], confidence: float) -> float:
    """The factor on a prediction that the measured latency stays under with that confidence.

    Split conformal prediction (Lei et al., "Distribution-Free Predictive Inference for Regression", JASA
    2018, section 2.2) on the ratio measured / predicted: the ceil((n + 1) c)-th smallest of n ratios,
    which assumes nothing of their distribution. Fewer than c / (1 - c) ratios hold no such quantile; then
    the ratios' logarithms are taken as normal with unknown spread (a Student t bound, never under the largest
    ratio seen), which is assumed and not guaranteed.

    Args:
        ratios: measured over predicted latency of networks that took no part in making their prediction.
        confidence: confidence of the bound, in (0, 1).

    Raises:
        ValueError: fewer than three ratios, or a confidence outside (0, 1).
    """
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence lies between 0 and 1, got {confidence}")
    n = len(ratios)
    if n < 3:
        raise ValueError(f"an interval needs at least 3 networks measured and predicted, got {n}")
    rank = math.ceil((n + 1) * confidence - 1e-9)
    if rank <= n:
        return float(np.sort(np.asarray(ratios))[rank - 1])
    logs = np.log(np.asarray(ratios))
    reach = float(stats.t.ppf(confidence, n - 1)) * float(logs.std(ddof=1)) * math.sqrt(1 + 1 / n)
    return max(float(np.exp(logs.mean() + reach)), *map(float, ratios))


def lower_ratio(ratios: Sequence[float], confidence: float) -> float:
    """The factor that the measured latency stays above with that confidence; see ``upper_ratio``."""
    return 1.0 / upper_ratio([1.0 / ratio for ratio in ratios], confidence)
