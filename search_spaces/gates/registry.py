"""The gates known by name: what weighs the channels of a block by what is in all of its map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator
from torch import nn

from results.registry import Registry
from search_spaces.choice import Choice

GATES: Registry[Callable[[int], nn.Module]] = Registry("gate")
"""Makers of modules (B, C, H, W) -> (B, C, H, W), given C. They obey the prefix rule, as mixers do.

A gate is looked up when a network is built, so one from outside this package has to be registered in every
process that builds networks.
"""

NO_GATE = "none"


def _known(name: str) -> str:
    if name != NO_GATE:
        GATES[name]  # raises where there is none
    return name


GateName = Annotated[str, AfterValidator(_known)]
"""Name of a gate, or ``none``."""

GATE = Choice("gate", (NO_GATE, "se", "eca"))
"""The gate as a choice of blocks."""


def gated(name: str, channels: int) -> dict[str, nn.Module]:
    """The gate by its name, so that no two gates share weights; empty for ``none``.

    Raises:
        ValueError: there is none of that name.
    """
    return {} if name == NO_GATE else {name: GATES[name].part(channels)}
