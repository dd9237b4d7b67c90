"""Fronts and hypervolumes: closed forms, and fast and slow agree."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from results.front import crowding, hypervolume, hypervolume_curve, non_dominated, ranks


def dominates(first, second):
    return bool((first <= second).all() and (first < second).any())


def slow_ranks(points):
    left, found, rank = list(range(len(points))), [0] * len(points), 0
    while left:
        front = [i for i in left if not any(dominates(points[j], points[i]) for j in left)]
        for i in front:
            found[i] = rank
        left = [i for i in left if i not in front]
        rank += 1
    return found


few_values = st.integers(1, 4).flatmap(
    lambda m: arrays(
        np.float64, st.tuples(st.integers(1, 25), st.just(m)), elements=st.sampled_from([0, 1, 2, 3, 0.5])
    )
)


@given(few_values)
def test_fast_and_slow_ranks_agree(points):
    assert ranks(points).tolist() == slow_ranks(points)
    assert non_dominated(points).tolist() == [rank == 0 for rank in slow_ranks(points)]


def test_peeled_ranks_are_the_counted_ones():
    points = np.random.default_rng(0).random((3500, 3))
    some = points[:3000]
    from results.front import _ranks_by_counting, _ranks_by_peeling

    assert (_ranks_by_counting(some) == _ranks_by_peeling(some)).all()
    assert (ranks(points)[non_dominated(points)] == 0).all()


def test_nan_is_on_no_front_and_ranks_last():
    points = np.array([[1.0, 2.0], [np.nan, 0.0], [2.0, 3.0]])
    assert non_dominated(points).tolist() == [True, False, False]
    assert ranks(points).tolist() == [0, 2, 1]
    assert ranks(np.full((2, 2), np.nan)).tolist() == [0, 0]


def test_no_points_are_no_front():
    assert non_dominated(np.empty((0, 3))).shape == (0,)
    assert ranks(np.empty((0, 2))).shape == (0,)
    assert hypervolume(np.empty((0, 2)), [1, 1]) == 0


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_one_point_spans_a_box(objectives):
    assert hypervolume(np.full((1, objectives), 0.25), np.ones(objectives)) == pytest.approx(0.75**objectives)


@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_staircase_has_its_closed_form(n):
    steps = np.arange(n)
    points = np.stack([steps, n - 1 - steps], axis=1).astype(float)
    assert hypervolume(points, [n, n]) == pytest.approx(n * (n + 1) / 2)


@pytest.mark.parametrize("n", [2, 5, 9])
def test_simplex_of_unit_cubes_has_its_closed_form(n):
    # The cells of an n-grid whose indices sum to at least n-1 are what the plane x+y+z = n-1 dominates.
    grid = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), -1).reshape(-1, 3)
    plane = grid[grid.sum(1) == n - 1].astype(float)
    assert hypervolume(plane, [n] * 3) == pytest.approx((grid.sum(1) >= n - 1).sum())


def test_four_objectives_agree_with_counting_cells():
    rng = np.random.default_rng(3)
    points = rng.integers(0, 6, size=(12, 4)).astype(float)
    cells = np.stack(np.meshgrid(*[np.arange(6)] * 4, indexing="ij"), -1).reshape(-1, 4)
    covered = (points[:, None, :] <= cells[None]).all(-1).any(0).sum()
    assert hypervolume(points, [6] * 4) == pytest.approx(covered)


def test_points_beyond_the_reference_add_nothing():
    assert hypervolume([[0.5, 0.5], [0.1, 2.0], [np.nan, 0.0]], [1, 1]) == pytest.approx(0.25)


@given(few_values)
def test_curve_rises_to_the_hypervolume_of_all(points):
    reference = np.full(points.shape[1], 3.5)
    curve = hypervolume_curve(points, reference)
    assert (np.diff(curve) >= -1e-12).all()
    assert curve[-1] == pytest.approx(hypervolume(points, reference))


def test_crowding_is_infinite_at_the_ends_and_the_gap_between():
    points = np.array([[0.0, 4.0], [1.0, 2.0], [4.0, 0.0], [9.0, 9.0]])
    distance = crowding(points, ranks(points))
    assert math.isinf(distance[0])
    assert math.isinf(distance[2])
    assert math.isinf(distance[3])
    assert distance[1] == pytest.approx(4 / 4 + 4 / 4)


def test_wrong_shapes_are_told():
    with pytest.raises(ValueError, match="2 objectives, the reference 3"):
        hypervolume([[1.0, 2.0]], [1, 1, 1])
    with pytest.raises(ValueError, match="matrix"):
        non_dominated([1.0, 2.0])
    with pytest.raises(ValueError, match="one to four objectives, got 5"):
        hypervolume(np.zeros((1, 5)), np.ones(5))
