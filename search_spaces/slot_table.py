"""The layers of a slot for every combination of its choices, looked up for whole populations."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_spaces.choice import Choice
from search_spaces.layer import Layer, Slot

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SlotTable:
    """The layer of a slot for every combination of its choices, flat in row-major order.

    Attributes:
        columns: the columns of the slot's choices.
        shape: how many values each of them has.
        strides: what one step in each of them moves in ``layers``.
        layers: one entry per combination; None where nothing stands.
    """

    columns: tuple[int, ...]
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    layers: tuple[Layer | None, ...]

    def position(self, rows: Rows) -> Rows:
        """Index into ``layers`` for each row, (n,)."""
        at = np.zeros(len(rows), dtype=np.int64)
        for column, stride in zip(self.columns, self.strides, strict=True):
            at += rows[:, column] * stride
        return at

    def at(self, row: Sequence[int]) -> Layer | None:
        """The layer of one row."""
        return self.layers[
            sum(row[column] * stride for column, stride in zip(self.columns, self.strides, strict=True))
        ]


def slot_table(slot: Slot, choices: Sequence[Choice]) -> SlotTable:
    """The table of a slot of a space with these choices."""
    column = {choice.name: index for index, choice in enumerate(choices)}
    columns = tuple(column[name] for name in slot.choices)
    values = [choices[at].values for at in columns]
    shape = tuple(len(options) for options in values)
    strides = tuple(math.prod(shape[at + 1 :]) for at in range(len(shape)))
    archs = (dict(zip(slot.choices, combination, strict=True)) for combination in itertools.product(*values))
    return SlotTable(columns, shape, strides, tuple(slot.layer(arch) for arch in archs))
