"""The entries known by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import pad

from results.registry import Registry
from search_spaces.operations.operation import Operation
from search_spaces.parts import ConvNorm


@dataclass(frozen=True, slots=True, kw_only=True)
class StageEntry(Operation):
    """What starts a stage: turns (B, inputs, H, W) into (B, outputs, ceil(H / stride), ceil(W / stride)).

    Its ``make`` is given ``inputs`` and ``outputs`` and, by name, ``stride`` and ``activation``. The space
    makes a choice ``stageI.NAME.CHOICE`` of each of its choices, active where the stage has this entry.
    """

    KIND: ClassVar[str] = "entry"
    GIVEN: ClassVar[tuple[str, ...]] = ("inputs", "outputs", "stride", "activation")


ENTRIES: Registry[StageEntry] = Registry("entry")


def register_entry(entry: StageEntry) -> None:
    """Adds an entry, which has to obey the prefix rule, as mixers have to.

    Raises:
        ValueError: the name is taken.
    """
    ENTRIES.add(entry.name, entry)


def filled(x: Tensor, stride: int) -> Tensor:
    """(B, C, H, W) with zeros below and to the right, up to sides that are multiples of the stride."""
    height, width = x.shape[-2:]
    missing = (0, -width % stride, 0, -height % stride)
    return pad(x, missing) if any(missing) else x


def _strided(inputs: int, outputs: int, *, stride: int, activation: str) -> nn.Module:
    """A 3x3 convolution with its norm and activation."""
    return ConvNorm(inputs, outputs, 3, stride=stride, activation=activation)


STRIDED = "strided"
register_entry(StageEntry(name=STRIDED, make=_strided))
