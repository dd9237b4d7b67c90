"""Accuracy, rank correlation, paired tests and intervals: what a claim needs to be more than one number.

scipy does the work and is imported where it is needed, for it takes its time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Statistic = Callable[..., float]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its interval, which holds the true value at some confidence.

    Attributes:
        value: the estimate.
        low: lower end of the interval.
        high: upper end of the interval.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3g} ({self.low:.3g} to {self.high:.3g})"


def top1(outputs: Any, labels: Any) -> float:
    """Top-1 accuracy in [0, 1]: share of images whose largest output is that of their label.

    Args:
        outputs: Logits, (N, classes), an array or a tensor.
        labels: Class indices, (N,), integers of the same kind of array.

    Raises:
        ValueError: no images, or shapes that do not belong together: labels (N, 1), as the column of a table
            has them, would be compared with every image.
    """
    if outputs.ndim != 2 or tuple(labels.shape) != tuple(outputs.shape[:1]):
        raise ValueError(
            f"accuracy needs outputs (images, classes) and labels (images,), got shapes "
            f"{tuple(outputs.shape)} and {tuple(labels.shape)}"
        )
    if len(labels) == 0:
        raise ValueError("there are no images to measure the accuracy on")
    return int((outputs.argmax(axis=1) == labels).sum()) / len(labels)


def kendall(first: ArrayLike, second: ArrayLike) -> float:
    """Kendall's tau-b, which corrects for ties; NaN where either is constant.

    "The treatment of ties in ranking problems" (Kendall, 1945).

    Raises:
        ValueError: the lengths differ, there are fewer than two pairs, or a number is not finite.
    """
    from scipy import stats

    a, b = _pairs(first, second)
    return float(stats.kendalltau(a, b).statistic)


def spearman(first: ArrayLike, second: ArrayLike) -> float:
    """Spearman's rank correlation, ties by their mean rank; NaN where either is constant.

    Raises:
        ValueError: the same as for ``kendall``.
    """
    from scipy import stats

    a, b = _pairs(first, second)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(stats.spearmanr(a, b).statistic)


def bootstrap(
    statistic: Statistic, *samples: ArrayLike, seed: int, resamples: int = 2000, confidence: float = 0.95
) -> Interval:
    """The percentile bootstrap interval of a statistic; samples of equal length are drawn as pairs.

    "An Introduction to the Bootstrap" (Efron and Tibshirani, 1993), chapter 13. Resamples on which the
    statistic is NaN (a constant one has no rank correlation) are left out.

    Args:
        statistic: function from the samples to a number.
        samples: observations, each (n,), at least two.
        seed: seed of the resampling.
        resamples: number of resamples.
        confidence: confidence of the interval, in (0, 1).

    Raises:
        ValueError: the lengths differ, there are fewer than two observations, the confidence is outside
            (0, 1), or the statistic is NaN on every resample.
    """
    arrays = [np.asarray(sample, dtype=np.float64).reshape(-1) for sample in samples]
    if len({len(array) for array in arrays}) != 1 or len(arrays[0]) < 2:
        raise ValueError(
            f"the bootstrap needs samples of one length, at least 2; got {[len(array) for array in arrays]}"
        )
    _check_confidence(confidence)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(arrays[0]), size=(resamples, len(arrays[0])))
    values = np.array([statistic(*(array[rows] for array in arrays)) for rows in drawn])
    values = values[~np.isnan(values)]
    if not len(values):
        raise ValueError("the statistic is not a number on any resample; are the observations all equal?")
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(statistic(*arrays)), float(low), float(high))


def wilcoxon(first: ArrayLike, second: ArrayLike) -> float:
    """The two-sided p-value of Wilcoxon's signed-rank test that paired numbers do not differ.

    Exact for few pairs without ties. Pairs without a difference say nothing; where there are no others
    the value is 1.

    Raises:
        ValueError: the same as for ``kendall``.
    """
    from scipy import stats

    a, b = _pairs(first, second)
    if np.array_equal(a, b):
        return 1.0
    return float(stats.wilcoxon(a, b, zero_method="wilcox").pvalue)


def share_interval(hits: int, n: int, confidence: float = 0.95) -> Interval:
    """A share, such as an accuracy, and its Wilson score interval.

    "Probable inference, the law of succession, and statistical inference" (Wilson, 1927).

    Args:
        hits: number of successes, 0 to n.
        n: number of trials, at least 1.
        confidence: confidence of the interval, in (0, 1).

    Raises:
        ValueError: the hits are not between 0 and n, or the confidence is outside (0, 1).
    """
    if not 0 <= hits <= n or n < 1:
        raise ValueError(f"a share is 0 to n hits of at least 1, got {hits} of {n}")
    _check_confidence(confidence)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = hits / n
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    room = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    return Interval(share, max(0.0, middle - room), min(1.0, middle + room))


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """The mean of a few numbers with Student's interval: of accuracies over seeds, or their differences.

    "The probable error of a mean" (Student, 1908). Wide where there are three, as three say little.

    Args:
        values: observations, (n,), at least two.
        confidence: confidence of the interval, in (0, 1).

    Raises:
        ValueError: there are fewer than two, one is not finite, or the confidence is outside (0, 1).
    """
    from scipy import stats

    array = np.asarray(values, dtype=np.float64).reshape(-1)
    if len(array) < 2 or not np.isfinite(array).all():
        raise ValueError(f"an interval of a mean needs two finite numbers or more, got {array.tolist()}")
    _check_confidence(confidence)
    mean, error = float(array.mean()), float(array.std(ddof=1)) / math.sqrt(len(array))
    room = float(stats.t.ppf((1 + confidence) / 2, len(array) - 1)) * error
    return Interval(mean, mean - room, mean + room)


def _pairs(first: ArrayLike, second: ArrayLike) -> tuple[Floats, Floats]:
    a = np.asarray(first, dtype=np.float64).reshape(-1)
    b = np.asarray(second, dtype=np.float64).reshape(-1)
    if len(a) != len(b) or len(a) < 2:
        raise ValueError(f"pairs are needed, at least 2; got {len(a)} numbers and {len(b)}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("pairs must be finite numbers; leave out those that are not")
    return a, b


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence lies between 0 and 1, such as 0.95; got {confidence}")
