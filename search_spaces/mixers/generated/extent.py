"""The extent of a generated kernel as a choice of mixers."""

from __future__ import annotations

from collections.abc import Mapping

from search_spaces.choice import Choice, Value

EXTENT = Choice("extent", (7, 11, 15), role="kernel")
"""Side of a generated kernel in pixels; its weights are as many whatever it is."""


def acting(values: Mapping[str, Value], shape: tuple[int, ...]) -> Mapping[str, Value]:
    """The least extent that reaches all that the given one does on a map of that shape (C, H, W)."""
    _, height, width = shape
    return {**values, "extent": min(int(values["extent"]), 2 * max(height, width) - 1)}
