"""Fronts: which points dominate which, in which order, and how much a set of points covers.

Every function takes points to be minimised, float of shape (n points, n objectives); turn the sign of
what is to be maximised. A point with a NaN dominates nothing and is on no front.
"""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.float64]


def non_dominated(points: ArrayLike) -> NDArray[np.bool_]:
    """Points that no other point dominates, as a mask (n,). Equal points do not dominate each other."""
    array = _points(points)
    usable = np.asarray(~np.isnan(array).any(axis=1))
    if array.shape[1] <= 2:
        return usable & (ranks(array) == 0)
    alive = np.flatnonzero(usable)
    alive = alive[np.lexsort(array[alive].T[::-1])]  # nobody is dominated by one that comes later
    front: list[int] = []
    while len(alive):
        best, rest = alive[0], alive[1:]
        front.append(int(best))
        worse = (array[rest] >= array[best]).all(axis=1) & (array[rest] > array[best]).any(axis=1)
        alive = rest[~worse]
    on_front = np.zeros(len(array), dtype=bool)
    on_front[front] = True
    return on_front


def ranks(points: ArrayLike) -> NDArray[np.int64]:
    """Number of each point's front, (n,): 0 for the non-dominated, 1 for those without these, and so on.

    Points with a NaN come after all others. One and two objectives take O(n log n); more take O(n²) memory
    in bits of a byte up to some thousand points and are peeled front by front beyond.
    """
    array = _points(points)
    usable = ~np.isnan(array).any(axis=1)
    distinct, inverse = np.unique(array[usable], axis=0, return_inverse=True)
    if array.shape[1] == 1:
        found = np.arange(len(distinct))
    elif array.shape[1] == 2:
        found = _ranks_of_two(distinct)
    elif len(distinct) <= 3000:
        found = _ranks_by_counting(distinct)
    else:
        found = _ranks_by_peeling(distinct)
    result = np.full(len(array), int(found.max(initial=-1)) + 1, dtype=np.int64)
    result[usable] = found[inverse.reshape(-1)]
    return result


def _ranks_of_two(distinct: Points) -> NDArray[np.int64]:
    """Ranks of distinct points sorted by the first objective: the patience sort of the second."""
    lowest: list[float] = []  # of each front so far the least second objective; ascending
    found = np.empty(len(distinct), dtype=np.int64)
    for index, second in enumerate(distinct[:, 1].tolist()):
        front = bisect_right(lowest, second)
        found[index] = front
        if front == len(lowest):
            lowest.append(second)
        else:
            lowest[front] = second
    return found


def _ranks_by_counting(distinct: Points) -> NDArray[np.int64]:
    no_worse = np.ones((len(distinct), len(distinct)), dtype=bool)
    for column in distinct.T:
        no_worse &= column[:, None] <= column[None, :]
    np.fill_diagonal(no_worse, False)  # distinct points: no worse everywhere is dominance
    dominators = no_worse.sum(axis=0)
    found = np.full(len(distinct), -1, dtype=np.int64)
    rank = 0
    while (front := np.flatnonzero((dominators == 0) & (found < 0))).size:
        found[front] = rank
        dominators -= no_worse[front].sum(axis=0)
        rank += 1
    return found


def _ranks_by_peeling(distinct: Points) -> NDArray[np.int64]:
    found = np.empty(len(distinct), dtype=np.int64)
    left = np.arange(len(distinct))
    rank = 0
    while left.size:
        front = non_dominated(distinct[left])
        found[left[front]] = rank
        left = left[~front]
        rank += 1
    return found


def crowding(points: ArrayLike, rank: NDArray[np.int64]) -> Points:
    """Distance between a point's neighbours on its own front, (n,); infinite at the ends of a front.

    "A fast and elitist multiobjective genetic algorithm: NSGA-II" (Deb et al., 2002), section III-B.

    Args:
        points: points to be minimised, (n, n objectives), finite or NaN.
        rank: number of each point's front, as ``ranks`` gives it.
    """
    array = _points(points)
    distance = np.zeros(len(array))
    for column in array.T:
        order = np.lexsort((column, rank))
        value, front = column[order], rank[order]
        if len(order) == 0:
            break
        first = np.r_[True, front[1:] != front[:-1]]
        last = np.r_[front[1:] != front[:-1], True]
        starts = np.flatnonzero(first)
        span = np.repeat(value[np.flatnonzero(last)] - value[starts], np.diff(np.r_[starts, len(order)]))
        gap = np.full(len(order), np.inf)
        inner = ~first & ~last
        at = np.flatnonzero(inner)
        with np.errstate(invalid="ignore", divide="ignore"):
            gap[at] = np.where(span[at] > 0, (value[at + 1] - value[at - 1]) / span[at], 0.0)
        distance[order] += gap
    return distance


def hypervolume(points: ArrayLike, reference: ArrayLike) -> float:
    """The volume between the points and the reference that is dominated, exactly; one to four objectives.

    Slices along the last objective down to two, where the volume is a staircase.

    Args:
        points: points to be minimised, (n, n objectives); one that is not better than the reference
            everywhere adds nothing.
        reference: worst value that counts for each objective, (n objectives,).

    Raises:
        ValueError: the reference has another length, or there are more than four objectives.
    """
    array, corner = _points(points), np.asarray(reference, dtype=np.float64).reshape(-1)
    if array.shape[1] != len(corner):
        raise ValueError(f"points have {array.shape[1]} objectives, the reference {len(corner)}")
    if len(corner) > 4:
        raise ValueError(f"hypervolume takes one to four objectives, got {len(corner)}")
    inside = (array < corner).all(axis=1)  # also drops NaN
    return _volume(array[inside], corner)


def hypervolume_curve(points: ArrayLike, reference: ArrayLike) -> Points:
    """Hypervolume of the first 1, 2, ..., n points, (n,). Never falls.

    Raises:
        ValueError: the same as for ``hypervolume``.
    """
    array, corner = _points(points), np.asarray(reference, dtype=np.float64).reshape(-1)
    curve = np.zeros(len(array))
    front, volume = array[:0], 0.0
    for index, point in enumerate(array):
        if (point < corner).all() and not (front <= point).all(axis=1).any():
            front = np.vstack([front[~(point <= front).all(axis=1)], point])
            volume = hypervolume(front, corner)
        curve[index] = volume
    return curve


def _volume(points: Points, corner: Points) -> float:
    if len(points) == 0:
        return 0.0
    if len(corner) == 1:
        return float(corner[0] - points.min())
    points = points[non_dominated(points)]
    if len(corner) == 2:
        points = points[np.argsort(points[:, 0], kind="stable")]
        right = np.r_[points[1:, 0], corner[0]]
        return float(np.sum((right - points[:, 0]) * (corner[1] - points[:, 1])))
    order = np.argsort(points[:, -1], kind="stable")
    points = points[order]
    above = np.r_[points[1:, -1], corner[-1]]
    thickness = above - points[:, -1]
    return float(
        sum(
            depth * _volume(points[: index + 1, :-1], corner[:-1])
            for index, depth in enumerate(thickness)
            if depth > 0
        )
    )


def _points(points: ArrayLike) -> Points:
    array = np.asarray(points, dtype=np.float64)
    if array.ndim != 2:
        raise ValueError(f"points are a matrix of (n points, n objectives), got shape {array.shape}")
    return array
