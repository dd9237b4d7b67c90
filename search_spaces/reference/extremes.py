"""The combination of choices whose terms sum to the most or the least, found exactly without enumerating.

The cost of a layered network is a sum of terms, each of which depends on a few choices. Choices are
eliminated one after another: all terms that a choice appears in become one table, from which its best value
for every combination of the others is taken ("non-serial dynamic programming", Bertele and Brioschi, 1972;
"bucket elimination", Dechter, 1999). The choice whose table is smallest goes first, so the parts of a block
are settled by depth and width, and the stages by their widths, in a chain.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_spaces.conditions import Parent

LARGEST_TABLE = 2**22  # entries, some 30 MB
MOST_COUNTED = 256  # networks that a sweep builds and counts; each takes some 20 ms

Row = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A part of a sum.

    Attributes:
        columns: choices it depends on.
        values: its value for every combination, of shape (values of each of these choices): a number, or
            whether the combination is allowed.
    """

    columns: tuple[int, ...]
    values: NDArray[Any]


def argmax(n_values: Row, terms: Sequence[Term], allowed: Sequence[Term]) -> Row | None:
    """The value index of every choice at which the sum of the terms is largest, (n choices,).

    Of several, the one with the larger indices: where the last value of every choice is among them, that.

    Args:
        n_values: how many values each choice has.
        terms: parts of the sum.
        allowed: combinations that there are; some combination must be allowed by all of these.

    Returns:
        The indices; None where a table would have more than ``LARGEST_TABLE`` entries.
    """
    left = [*terms, *(replace(one, values=np.where(one.values, 0.0, -np.inf)) for one in allowed)]
    settled = []
    remaining = set(range(len(n_values)))
    while remaining:
        column = min(remaining, key=lambda one: (_entries(one, left, n_values), one))
        remaining.remove(column)
        if _entries(column, left, n_values) > LARGEST_TABLE:
            return None
        table, others = _joined(column, left, n_values)
        # The last axis is the choice's own; flipped, so that argmax takes the last of equal values.
        best = table.shape[-1] - 1 - table[..., ::-1].argmax(axis=-1)
        settled.append((column, others, best))
        left = [one for one in left if column not in one.columns]
        left.append(Term(columns=others, values=table.max(axis=-1)))
    row = np.zeros(len(n_values), dtype=np.int64)
    for column, others, best in reversed(settled):
        row[column] = best[tuple(row[other] for other in others)]
    return row


def argmin(n_values: Row, terms: Sequence[Term], allowed: Sequence[Term]) -> Row | None:
    """The same for the smallest sum; of several, the one with the smaller indices."""
    costs = [replace(one, values=-np.flip(one.values)) for one in terms]
    possible = [replace(one, values=np.flip(one.values)) for one in allowed]
    row = argmax(n_values, costs, possible)
    return None if row is None else n_values - 1 - row


def canonical_terms(n_values: Row, parents: Sequence[Parent]) -> list[Term]:
    """Terms for each choice that depends on others: where it is active, or at the first of its values.

    Args:
        n_values: how many values each choice has.
        parents: parent of each choice.
    """
    terms = []
    for index, parent in enumerate(parents):
        columns, allowed = [index], []
        while parent is not None:
            columns.append(parent[0])
            allowed.append(parent[1])
            parent = parents[parent[0]]
        if allowed:
            own, *ancestors = np.indices([n_values[column] for column in columns])
            active = np.all([one[at] for one, at in zip(allowed, ancestors, strict=True)], axis=0)
            terms.append(Term(columns=tuple(columns), values=active | (own == 0)))
    return terms


def sweep(
    start: Row, categories: Mapping[int, int], canonical: Callable[[Row], Row], score: Callable[[Row], float]
) -> Row:
    """Gives each category in turn the value with the best score, the earlier ones at theirs.

    At most one score for each value and one for the start, ``MOST_COUNTED`` in all: categories beyond keep
    what the start has. Values that change nothing, as those of inactive choices, are not scored again.

    Args:
        start: first row.
        categories: columns that may change, and how many values each has; parents before their children.
        canonical: rows (n, n choices) with inactive choices at 0.
        score: what is raised; where that of the start is not a number, the start is as good as any.
    """
    best, asked = start, 1
    value = score(start) if categories else math.nan
    if math.isnan(value):
        return start
    for column, n in categories.items():
        base = best
        for index in set(range(n)) - {int(base[column])}:
            row = base.copy()
            row[column] = index
            if (canonical(row[None]) == canonical(base[None])).all():
                continue
            asked += 1
            if asked > MOST_COUNTED:
                return best
            if (found := score(row)) > value:
                best, value = row, found
    return best


def _scope(column: int, terms: Sequence[Term]) -> tuple[int, ...]:
    """The other choices that the terms with this choice depend on, ascending."""
    found = {other for one in terms if column in one.columns for other in one.columns}
    return tuple(sorted(found - {column}))


def _entries(column: int, terms: Sequence[Term], n_values: Row) -> int:
    return math.prod(int(n_values[other]) for other in (*_scope(column, terms), column))


def _joined(column: int, terms: Sequence[Term], n_values: Row) -> tuple[NDArray[np.float64], tuple[int, ...]]:
    """The sum of the terms with this choice, its own axis last, and the choices of the other axes."""
    others = _scope(column, terms)
    axes = (*others, column)
    table = np.zeros([n_values[one] for one in axes])
    for one in terms:
        if column in one.columns:
            order = sorted(one.columns, key=axes.index)
            values = one.values.transpose([one.columns.index(axis) for axis in order])
            table += values.reshape([n_values[axis] if axis in one.columns else 1 for axis in axes])
    return table, others
