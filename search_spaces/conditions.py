"""Choices that depend on others: which of them matter in an arch, and how many archs that leaves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from results.names import unknown
from search_spaces.choice import Choice, Value

Parent = tuple[int, NDArray[np.bool_]] | None
"""The column of a choice's parent, and which of the parent's value indices make the choice active."""


def parents_of(choices: Sequence[Choice]) -> list[Parent]:
    """The parent of each choice.

    Raises:
        ValueError: a parent that does not come before its choice, or never takes a value that it should.
    """
    return [_parent(choices, index) for index in range(len(choices))]


def _parent(choices: Sequence[Choice], index: int) -> Parent:
    choice = choices[index]
    if not choice.parent:
        return None
    before = {one.name: at for at, one in enumerate(choices[:index])}
    if choice.parent not in before:
        raise ValueError(
            f"choice {choice.name!r}: its parent {choice.parent!r} must be a choice that comes before it"
        )
    parent = choices[before[choice.parent]]
    for value in choice.parent_values:
        if value not in parent.values:
            raise ValueError(
                f"choice {choice.name!r}: {parent.name!r} never takes {value!r}, only {parent.values}"
            )
    return before[parent.name], np.array([value in choice.parent_values for value in parent.values])


def indices(arch: Mapping[str, Value], choices: Sequence[Choice], parents: Sequence[Parent]) -> list[int]:
    """The canonical row of an arch as plain numbers: for one arch ten times faster than the vectorised way.

    Raises:
        ValueError: an unknown choice, a value that is not among its choice's, an active choice missing.
    """
    names = {choice.name for choice in choices}
    for name in arch:
        if name not in names:
            raise ValueError(unknown("choice", name, [choice.name for choice in choices]))
    row = [0] * len(choices)
    matters = [True] * len(choices)
    missing = []
    for index, choice in enumerate(choices):
        parent = parents[index]
        if parent is not None:
            matters[index] = matters[parent[0]] and bool(parent[1][row[parent[0]]])
        if choice.name in arch:
            value = arch[choice.name]
            if value not in choice.values:
                raise ValueError(f"choice {choice.name!r} takes {choice.values}, not {value!r}")
            row[index] = choice.values.index(value) if matters[index] else 0
        elif matters[index]:
            missing.append(choice.name)
    if missing:
        raise ValueError(f"the arch says nothing of {', '.join(missing)}")
    return row


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
