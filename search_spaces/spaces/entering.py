"""The layers of built-in spaces that change the shape: stems, and what starts a stage."""

from __future__ import annotations

from collections.abc import Mapping

from search_spaces.choice import Value
from search_spaces.entries.registry import STRIDED, StageEntry
from search_spaces.layer import Layer
from search_spaces.parts import ConvNorm
from search_spaces.space import Shape


def entering(
    place: str, one: StageEntry, before: Shape, after: Shape, given: Mapping[str, Value], *, apart: str = ""
) -> Layer:
    """The layer of an entry, whatever place it stands at.

    Args:
        place: name of the place, with which the layer's begins.
        one: the entry.
        before: (C, H, W) of what it is given.
        after: (C, H, W) of the result.
        given: stride, activation and values of its own choices.
        apart: end of the layer's name, for weights that it does not share.
    """
    sizes = {"inputs": before[0], "outputs": after[0], **given}
    if one.name == STRIDED:
        return Layer.of(f"{place}{apart}", "entry", ConvNorm, before, after, {**sizes, "kernel": 3})
    return Layer.of(f"{place}_{one.name}{apart}", one.name, one, before, after, {**sizes, **one.fixed})
