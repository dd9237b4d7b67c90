"""The channel mixers known by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from results.registry import Registry
from search_spaces.operations.operation import Operation
from search_spaces.parts import Mlp


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelMixer(Operation):
    """What stands where a MetaFormer block has its MLP, and turns (B, C, H, W) into (B, C, H, W).

    Its ``make`` is given ``channels`` and, by name, ``ratio`` (hidden channels over channels) and
    ``activation``. The space makes a choice ``stageI.blockJ.NAME.CHOICE`` of each of its choices, active
    where the block has this channel mixer.
    """

    KIND: ClassVar[str] = "channel mixer"
    GIVEN: ClassVar[tuple[str, ...]] = ("channels", "ratio", "activation")


CHANNEL_MIXERS: Registry[ChannelMixer] = Registry("channel mixer")


def register_channel_mixer(entry: ChannelMixer) -> None:
    """Adds a channel mixer, which has to obey the prefix rule, as mixers have to.

    Raises:
        ValueError: the name is taken.
    """
    CHANNEL_MIXERS.add(entry.name, entry)


MLP = "mlp"
register_channel_mixer(ChannelMixer(name=MLP, make=Mlp))
