"""Exits: places before the end of a network where a classifier of its own may end it.

"BranchyNet: Fast Inference via Early Exiting from Deep Neural Networks" (Teerapittayanon et al., ICPR 2016),
section III, has classifiers after some layers, and each image leaves at the first that is sure. A file
computes all of its network in every runtime here, and a limit is on one latency; so the place is a choice:
the network of an arch is cut there, and what comes later is in no file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from search_spaces.choice import Choice
from search_spaces.layer import Layer, Slot
from search_spaces.space import Arch, Rows, SearchSpace
from search_spaces.spaces.head import HeadSizes
from search_spaces.spaces.maps import Maps

EXIT = "exit"
"""Name of the choice: how many stages a network has."""


def refuse_exits(exits: Sequence[int], stages: int) -> None:
    """Refuses places where no network of so many stages can end early.

    Raises:
        ValueError: says what is right.
    """
    if exits and stages == 1:
        raise ValueError("exits: this space has one stage, whose depth says where its networks end")
    if list(exits) != sorted(set(exits)) or not all(1 <= one < stages for one in exits):
        raise ValueError(
            f"exits: stages after which a network may end, ascending, none twice, from 1 to {stages - 1}, as "
            f"there are {stages} stages and the last always ends it; got {tuple(exits)}"
        )


def with_exits(
    choices: Iterable[Choice], slots: Iterable[Slot], heads: Sequence[Slot], exits: Sequence[int]
) -> tuple[list[Choice], list[Slot]]:
    """Choices and slots of a space whose networks may end early; as they are, where there are no exits.

    Args:
        choices: choices of whole networks; a stage's begin with ``stageI.``.
        slots: slots of whole networks without their head, named likewise.
        heads: slots that end a network after each stage, the first to the last.
        exits: numbers of stages after which it may, ascending, the last stage's not among them.
    """
    if not exits:
        return [*choices], [*slots, heads[-1]]
    ends = (*exits, len(heads))

    def later(name: str) -> tuple[int, ...]:
        """The ends of networks that have what is called so; of stages before the first exit, all."""
        place = name.partition(".")[0].removeprefix("stage")
        return tuple(one for one in ends if not place.isdecimal() or one > int(place))

    def found(choice: Choice) -> Choice:
        own = later(choice.name)
        if choice.parent or own == ends:  # what has a parent is active with it alone
            return choice
        return replace(choice, parent=EXIT, parent_values=own)

    made = [Choice(EXIT, ends, role="depth"), *map(found, choices)]
    places = [_only(slot, own) if (own := later(slot.name)) != ends else slot for slot in slots]
    return made, [*places, *(_only(heads[end - 1], (end,)) for end in ends)]


def exit_head(stage: int, stages: int, maps: Maps, sizes: HeadSizes) -> Slot:
    """The head after a stage, whose weights are its own.

    Args:
        stage: index of the stage.
        stages: number of stages.
        maps: sizes of the maps in the stage.
        sizes: sizes of the head.
    """
    return sizes.slot("head" if stage == stages - 1 else f"exit{stage + 1}", f"stage{stage}.width", maps)


def _only(slot: Slot, ends: tuple[int, ...]) -> Slot:
    """The slot in networks that end there; in others nothing stands in it."""

    def layer(arch: Arch) -> Layer | None:
        return slot.layer(arch) if arch[EXIT] in ends else None

    return Slot(name=slot.name, choices=(EXIT, *slot.choices), layer=layer)


def ends_of(space: SearchSpace, row: Rows) -> Rows:
    """A network and what it is when it ends earlier, the whole first: rows (n, n choices).

    Only the row itself in a space without exits. What a rule of the space forbids is left out.
    """
    whole = space.canonical(row[None])
    if EXIT not in space.column:
        return whole
    column = space.column[EXIT]
    rows = np.repeat(row[None], whole[0, column] + 1, axis=0)
    rows[:, column] = np.arange(whole[0, column], -1, -1)
    earlier = space.canonical(rows)[1:]
    return np.concatenate([whole, earlier[space.allowed(earlier)]])
