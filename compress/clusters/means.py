"""K-means of the numbers of a weight, or of short vectors of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 100  # of Lloyd's algorithm at most; it has settled long before on a line
_LEARNED_FROM = 20_000  # vectors at most; the means of more are hardly better, and cost that much more
_AT_ONCE = 4096  # vectors whose distances to all means are held at a time


def means_of(
    vectors: NDArray[Any], count: int, *, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Means (count, length) and for each vector the number of the nearest, (n,).

    Single numbers are clustered exactly as Lloyd's algorithm does it, on sorted numbers, from even shares of
    them and from even distances; the better is taken. Vectors begin with k-means++. Where there are no more
    different vectors than means, they are the means.

    Args:
        vectors: float (n, length).
        count: means to find.
        seed: seed of the draws for vectors.
    """
    values = np.asarray(vectors, np.float64)
    different = np.unique(values[: 4 * count], axis=0)
    if len(different) <= count:  # the cheap half of the question first
        different = np.unique(values, axis=0)
    if len(different) <= count:
        found = different
    elif values.shape[1] == 1:
        found = _on_a_line(np.sort(values[:, 0]), count)[:, None]
    else:
        found = _of_vectors(values, count, seed)
    means = np.concatenate([found, np.repeat(found[-1:], count - len(found), axis=0)])
    return means, nearest(values, found)


def nearest(vectors: NDArray[Any], means: NDArray[Any]) -> NDArray[np.int64]:
    """Numbers of the nearest mean of each vector (n, length), (n,)."""
    if means.shape[1] == 1:
        order = np.argsort(means[:, 0], kind="stable")
        ascending = means[order, 0]
        borders = (ascending[1:] + ascending[:-1]) / 2
        return np.asarray(order[np.searchsorted(borders, vectors[:, 0])], np.int64)
    squares = (means**2).sum(axis=1)
    parts = [
        (squares - 2 * vectors[start : start + _AT_ONCE] @ means.T).argmin(axis=1)
        for start in range(0, len(vectors), _AT_ONCE)
    ]
    return np.concatenate(parts).astype(np.int64)


def _on_a_line(values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Means (count,) of sorted numbers, ascending."""
    shares = values[((np.arange(count) + 0.5) / count * len(values)).astype(int)]
    sums = np.concatenate([[0.0], values.cumsum()])
    squares = np.concatenate([[0.0], (values**2).cumsum()])
    best, least = shares, np.inf
    for means in (shares, np.linspace(values[0], values[-1], count)):
        ends = np.zeros(0, int)
        for _ in range(_ROUNDS):
            before, ends = ends, np.searchsorted(values, (means[1:] + means[:-1]) / 2)
            if np.array_equal(before, ends):
                break
            low, high = np.concatenate([[0], ends]), np.concatenate([ends, [len(values)]])
            many = high - low
            means = np.where(many > 0, (sums[high] - sums[low]) / np.maximum(many, 1), means)
        error = float(squares[-1] - ((sums[high] - sums[low]) ** 2 / np.maximum(many, 1)).sum())
        if error < least:
            best, least = means, error
    return best


def _of_vectors(vectors: NDArray[np.float64], count: int, seed: int) -> NDArray[np.float64]:
    from sklearn.cluster import KMeans

    draws = np.random.default_rng(seed)
    few = vectors
    if len(vectors) > _LEARNED_FROM:
        few = vectors[np.sort(draws.choice(len(vectors), _LEARNED_FROM, replace=False))]
    made = KMeans(count, n_init=1, max_iter=_ROUNDS, random_state=int(draws.integers(2**31)))
    means: NDArray[np.float64] = made.fit(few).cluster_centers_
    return means
