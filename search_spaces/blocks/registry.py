"""The blocks known by name; the name of a mixer stands for the MetaFormer block that has it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from results.names import unknown
from results.registry import Registry
from search_spaces.blocks.metaformer import RATIO, MixerAndMlp
from search_spaces.mixers.registry import MIXERS, known_mixer
from search_spaces.operations.operation import Operation, Options
from search_spaces.operations.options import problems_of_options


@dataclass(frozen=True, slots=True, kw_only=True)
class Block(Operation):
    """The unit of a convolutional stage: turns (B, inputs, H, W) into (B, outputs, H / stride, W / stride).

    Its ``make`` is given ``inputs``, ``outputs``, ``stride`` and ``activation``. The space makes a choice
    ``stageI.BLOCK.NAME`` of each of its choices, the same for all blocks of the stage, active where the stage
    is made of these blocks.

    Attributes:
        entered: whether it keeps its shape (``inputs`` and ``outputs`` are equal and ``stride`` is 1), as its
            family has a convolution before the first block of a stage that changes it.
    """

    KIND: ClassVar[str] = "block"
    GIVEN: ClassVar[tuple[str, ...]] = ("inputs", "outputs", "stride", "activation")

    entered: bool = False


BLOCKS: Registry[Block] = Registry("block")


def register_block(entry: Block) -> None:
    """Adds a block, which has to obey the prefix rule: what channel j does never depends on the active width.

    Raises:
        ValueError: the name is taken by a block, or by a mixer.
    """
    if entry.name in MIXERS:
        raise ValueError(
            f"block {entry.name!r}: a mixer is called that, and so is the block that has it; choose another "
            f"name"
        )
    BLOCKS.add(entry.name, entry)


def known_block(name: str) -> Block | None:
    """The block of that name, or that of the mixer of that name; None where there is neither."""
    if name in BLOCKS:
        return BLOCKS[name].part
    mixer = known_mixer(name)
    if mixer is None:
        return None
    return Block(
        name=name,
        make=MixerAndMlp(mixer),
        choices=(*mixer.choices, RATIO),
        channel_multiple=mixer.channel_multiple,
        acting=mixer.acting,
        entered=True,
    )


def block_names() -> tuple[str, ...]:
    """The names of all blocks: the registered ones, and those of the mixers."""
    return (*BLOCKS, *MIXERS)


def block(name: str) -> Block:
    """The block of that name.

    Raises:
        ValueError: there is none; the message names the nearest.
    """
    found = known_block(name)
    if found is None:
        raise ValueError(unknown(Block.KIND, name, block_names()))
    return found


def block_problems(options: Options, blocks: Iterable[str]) -> list[str]:
    """Everything that is wrong with the options of a space's blocks, each line beginning with block and key.

    Args:
        options: options by block and key.
        blocks: names of the blocks that the space has.
    """
    return problems_of_options(Block.KIND, options, blocks, known_block)
