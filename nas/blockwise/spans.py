"""The spans of a space of slots: runs of slots that stand for one another, and all that can stand there.

Where the kinds of a block have slots of their own (of which an arch fills one), the alternative to a layer
stands in another slot. Such slots, and all between them, make one span; most spans are a single slot.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_spaces.layer import Layer
from search_spaces.slot_table import SlotTable, slot_table
from search_spaces.space import Rows, SearchSpace

MOST_COMBINATIONS = 2**20  # of the choices of a span


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # arrays have no one truth
class Span:
    """A run of slots and what can stand in them.

    Attributes:
        name: name of its first slot.
        columns: choices that decide what stands there.
        alternatives: the different sequences of layers that can stand there; one may be empty.
        standing: the alternative of each combination of the choices, by index, (values of each choice).
    """

    name: str
    columns: tuple[int, ...]
    alternatives: tuple[tuple[Layer, ...], ...]
    standing: Rows


def spans(space: SearchSpace) -> list[Span]:
    """The spans of a space in order of execution; together they hold every slot once.

    Raises:
        ValueError: the space only builds, or a span depends on too many choices to be listed.
    """
    if not space.slots:
        raise ValueError(
            f"space {space.name!r} only builds its networks; blocks are learned in spaces of slots, which "
            "say what stands in each place"
        )
    tables = [slot_table(slot, space.choices) for slot in space.slots]
    found = []
    first = 0
    for last in _ends(tables):
        found.append(_span(space, space.slots[first].name, tables[first : last + 1]))
        first = last + 1
    return found


def _ends(tables: Sequence[SlotTable]) -> list[int]:
    """The last slot of each span."""
    filled = [np.array([one is not None for one in table.layers]).reshape(table.shape) for table in tables]
    reach = list(range(len(tables)))  # the furthest slot that stands for this one
    for first, table in enumerate(tables):
        for second in range(first + 1, len(tables)):
            both = filled[first].any() and filled[second].any()
            if both and not _together(table, filled[first], tables[second], filled[second]):
                reach[first] = second
    ends, furthest = [], 0
    for at, one in enumerate(reach):
        furthest = max(furthest, one)
        if furthest == at:
            ends.append(at)
            furthest = at + 1
    return ends


def _together(
    first: SlotTable, filled: NDArray[np.bool_], second: SlotTable, also: NDArray[np.bool_]
) -> bool:
    """Whether some arch has a layer in both slots."""
    shared = sorted({*first.columns} & {*second.columns})
    return bool((_seen_by(shared, first, filled) & _seen_by(shared, second, also)).any())


def _seen_by(shared: Sequence[int], table: SlotTable, filled: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether a slot may be filled, for every combination of some of its choices."""
    others = tuple(axis for axis, column in enumerate(table.columns) if column not in shared)
    left = [column for column in table.columns if column in shared]
    return np.transpose(filled.any(axis=others), [left.index(column) for column in shared])


def _span(space: SearchSpace, name: str, tables: Sequence[SlotTable]) -> Span:
    columns = tuple(sorted({column for table in tables for column in table.columns}))
    shape = tuple(int(space.n_values[column]) for column in columns)
    if math.prod(shape) > MOST_COMBINATIONS:
        raise ValueError(
            f"what stands at {name!r} depends on choices with {math.prod(shape)} combinations; "
            f"at most {MOST_COMBINATIONS} are listed"
        )
    rows = np.zeros((math.prod(shape), len(space.choices)), dtype=np.int64)
    if columns:  # what stands there may always be the same
        rows[:, list(columns)] = np.indices(shape).reshape(len(columns), -1).T
    sequences = [
        tuple(layer for layer in layers if layer is not None)
        for layers in zip(
            *([table.layers[at] for at in table.position(rows)] for table in tables), strict=True
        )
    ]
    indices: dict[tuple[tuple[str, str], ...], int] = {}
    named = [tuple((layer.name, layer.key) for layer in layers) for layers in sequences]
    standing = [indices.setdefault(one, len(indices)) for one in named]
    alternatives = dict(zip(standing, sequences, strict=True))
    return Span(
        name=name,
        columns=columns,
        alternatives=tuple(alternatives[at] for at in range(len(indices))),
        standing=np.array(standing, dtype=np.int64).reshape(shape),
    )
