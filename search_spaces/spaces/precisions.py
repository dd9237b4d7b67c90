"""A space whose archs also say which number format each stage, or block, of their network has.

"SimQ-NAS: Simultaneous Quantization Policy and Neural Architecture Search" (Sridhar et al., 2023) searches
both in one genotype. Here the formats are those that a runtime computes in, int8 and float.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from results.names import unknown
from search_spaces.choice import Choice, Value
from search_spaces.layer import Layer, Slot
from search_spaces.slot_table import slot_table
from search_spaces.space import SearchSpace

Parts = Literal["stage", "block"]
PRECISIONS = ("int8", "fp32")
"""Float comes last: of networks with as many multiply-accumulates the largest is that of the last values."""


def with_precisions(space: SearchSpace, per: Parts) -> SearchSpace:
    """The space with a choice of number format for each part of its networks, whose weights are the same.

    The parts are what the names of slots begin with: ``stage0`` and ``head``, or ``stage0.entry`` and
    ``stage0.block0``. A block's choice is active where there is such a block; what no network has any layer
    in, such as an entry where blocks change the shape themselves, is no part.

    Args:
        space: space of slots; a reference that it declares stays, in float.
        per: parts that choose.

    Raises:
        ValueError: no such parts, a space without slots, or one whose archs have formats already.
    """
    if per not in get_args(Parts):
        raise ValueError(unknown("part of a network with a number format of its own", per, get_args(Parts)))
    if not space.slots:
        raise ValueError(
            f"space {space.name!r} only builds its networks; number formats are chosen for the stages or "
            "blocks of a space of slots"
        )
    parts: dict[str, list[Slot]] = {}
    for slot in space.slots:
        parts.setdefault(".".join(slot.name.split(".")[: 1 if per == "stage" else 2]), []).append(slot)
    found = {part: _choice(part, slots, space.choices) for part, slots in parts.items()}
    made = {part: choice for part, choice in found.items() if choice is not None}
    if strange := [choice.name for choice in made.values() if choice.name in space.column]:
        raise ValueError(f"space {space.name!r} has the choice {strange[0]!r} already")
    chosen = {slot.name: choice.name for part, choice in made.items() for slot in parts[part]}
    reference = space.largest() if space.declares_reference else None
    return SearchSpace(
        space.name,
        (*space.choices, *made.values()),
        slots=[_slot(slot, chosen[slot.name]) for slot in space.slots if slot.name in chosen],
        input_shape=space.input_shape,
        reference=reference and {**reference, **{choice.name: "fp32" for choice in made.values()}},
        rules=space.rules,
    )


def _slot(slot: Slot, choice: str) -> Slot:
    return Slot(
        name=slot.name, choices=(*slot.choices, choice), layer=partial(_layer, slot=slot, choice=choice)
    )


def _layer(arch: Mapping[str, Value], *, slot: Slot, choice: str) -> Layer | None:
    layer = slot.layer({name: arch[name] for name in slot.choices})
    return layer and replace(layer, precision=str(arch[choice]))


def _choice(part: str, slots: Sequence[Slot], choices: Sequence[Choice]) -> Choice | None:
    """The choice of a part's number format, active where another choice says that it has layers.

    Of several that do, such as an exit and a depth, it is the last: those before are its parents. None where
    no network has a layer there.
    """
    name = f"{part}.precision"
    filled = {slot.name: _filled(slot, choices) for slot in slots}
    if not any(one.any() for one in filled.values()):
        return None
    by_name = {choice.name: choice for choice in choices}
    for choice in reversed(choices):
        needed = {choice.name, choice.parent} - {""}
        if not all(needed <= {*slot.choices} for slot in slots):
            continue
        there = np.zeros(len(choice.values), dtype=bool)
        without = False  # whether there are layers where the choice itself is not active
        for slot in slots:
            there |= _along(filled[slot.name], slot, choice.name)
            if choice.parent:
                values = by_name[choice.parent].values
                inactive = [value not in choice.parent_values for value in values]
                without |= bool(_along(filled[slot.name], slot, choice.parent)[inactive].any())
        if not there.all() and not without:
            values = tuple(value for value, one in zip(choice.values, there, strict=True) if one)
            return Choice(name, PRECISIONS, choice.name, values)
    return Choice(name, PRECISIONS)


def _filled(slot: Slot, choices: Sequence[Choice]) -> NDArray[np.bool_]:
    """Whether a layer stands in a slot, by the values of its choices, one axis each."""
    table = slot_table(slot, choices)
    return np.array([layer is not None for layer in table.layers]).reshape(table.shape)


def _along(filled: NDArray[np.bool_], slot: Slot, choice: str) -> NDArray[np.bool_]:
    """Whether one stands there for some of the other values, by the values of one choice."""
    axis = slot.choices.index(choice)
    return np.asarray(np.moveaxis(filled, axis, 0).reshape(filled.shape[axis], -1).any(axis=1))
