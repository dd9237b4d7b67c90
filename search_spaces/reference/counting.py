"""Combinations that are allowed, counted and drawn exactly without listing them.

Choices are eliminated one after another, as in ``extremes``, but sums take the place of maxima: the joint
table of a choice holds for every combination of the others how many ways to go on each value has ("bucket
elimination", Dechter, 1999, section 5).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_spaces.reference.extremes import LARGEST_TABLE, Row, Term

_Step = tuple[int, tuple[int, ...], NDArray[Any]]
"""A choice, those that it still depends on, and the ways to go on for each of their values, its own last."""


def count_allowed(n_values: Row, allowed: Sequence[Term]) -> int:
    """How many combinations all terms allow, exactly.

    Raises:
        ValueError: terms that tie too many choices together.
    """
    return int(_eliminated(n_values, allowed, object)[1])


class Draw:
    """Draws among the combinations that all terms allow, each as likely as any other.

    Args:
        n_values: how many values each choice has.
        allowed: combinations that there are; some combination must be allowed by all of these.

    Raises:
        ValueError: terms that tie too many choices together.
    """

    def __init__(self, n_values: Row, allowed: Sequence[Term]) -> None:
        steps, _ = _eliminated(n_values, allowed, np.float64)
        self._steps = [
            (column, others, np.cumsum(table, axis=-1)) for column, others, table in reversed(steps)
        ]
        self._columns = len(n_values)

    def __call__(self, n: int, rng: np.random.Generator) -> Row:
        """n combinations, (n, n choices)."""
        rows = np.zeros((n, self._columns), dtype=np.int64)
        for column, others, ways in self._steps:
            mine = ways[tuple(rows[:, other] for other in others)]  # (n, values), or (values,)
            mine = np.broadcast_to(mine, (n, mine.shape[-1]))
            rows[:, column] = (mine <= rng.random((n, 1)) * mine[:, -1:]).sum(axis=1)
        return rows


def _eliminated(n_values: Row, allowed: Sequence[Term], dtype: Any) -> tuple[list[_Step], Any]:
    """The choices in the order in which they were eliminated, and the number of combinations."""
    left = [(one.columns, one.values.astype(dtype)) for one in allowed]
    steps: list[_Step] = []
    remaining, total = set(range(len(n_values))), 1
    while remaining:
        column = min(remaining, key=lambda one: (_entries(one, left, n_values), one))
        remaining.remove(column)
        if _entries(column, left, n_values) > LARGEST_TABLE:
            raise ValueError(
                "the rules tie too many choices together to be counted: give rules over fewer choices"
            )
        others = _scope(column, left)
        axes = (*others, column)
        table = np.ones([n_values[one] for one in axes], dtype=dtype)
        for columns, values in left:
            if column in columns:
                order = sorted(columns, key=axes.index)
                turned = values.transpose([columns.index(axis) for axis in order])
                table = table * turned.reshape([n_values[axis] if axis in columns else 1 for axis in axes])
        steps.append((column, others, table))
        left = [one for one in left if column not in one[0]]
        ways = table.sum(axis=-1)
        if others:
            left.append((others, ways))
        else:
            total = total * (int(ways) if dtype is object else ways)
    return steps, total


def _scope(column: int, factors: Sequence[tuple[tuple[int, ...], NDArray[Any]]]) -> tuple[int, ...]:
    found = {other for columns, _ in factors if column in columns for other in columns}
    return tuple(sorted(found - {column}))


def _entries(column: int, factors: Sequence[tuple[tuple[int, ...], NDArray[Any]]], n_values: Row) -> int:
    return math.prod(int(n_values[other]) for other in (*_scope(column, factors), column))
