"""Choices that depend on others: which of them matter in an arch, and how many archs that leaves."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Parent = tuple[int, NDArray[np.bool_]] | None
"""The column of a choice's parent, and which of the parent's value indices make the choice active."""


def active(rows: NDArray[np.int64], parents: Sequence[Parent]) -> NDArray[np.bool_]:
    """Whether each choice matters in each row, (n, n choices)."""
    mask = np.ones(rows.shape, dtype=bool)
    for index, parent in enumerate(parents):
        if parent is not None:
            column, allowed = parent
            mask[:, index] = mask[:, column] & allowed[rows[:, column]]
    return mask


def count_archs(n_values: NDArray[np.int64], parents: Sequence[Parent]) -> int:
    """How many different canonical archs there are, exactly."""
    children: dict[int, list[tuple[int, NDArray[np.bool_]]]] = {index: [] for index in range(len(parents))}
    for index, parent in enumerate(parents):
        if parent is not None:
            children[parent[0]].append((index, parent[1]))

    def count(index: int) -> int:
        return sum(
            math.prod(count(child) for child, allowed in children[index] if allowed[value])
            for value in range(int(n_values[index]))
        )

    return math.prod(count(index) for index, parent in enumerate(parents) if parent is None)
