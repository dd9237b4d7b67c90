"""Spaces by name, at several sizes. A recipe names one; the data decides classes and input shape."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from results.names import unknown
from search_spaces.blocks.registry import Block, block_problems
from search_spaces.mixers.registry import Mixer, option_problems, shared_out
from search_spaces.operations.operation import Options
from search_spaces.operations.options import refuse
from search_spaces.space import SearchSpace, Shape
from search_spaces.spaces.convnet import ConvNet, ConvStage, convnet
from search_spaces.spaces.fast import CONVNETS
from search_spaces.spaces.metaformer import Stage, metaformer

METAFORMERS: dict[str, tuple[Stage, ...]] = {
    # For images of 8x8: maps of 8x8, then 4x4.
    "digits": (
        Stage(widths=(16, 32, 48), depths=(1, 2, 3), resolution_step=1),
        Stage(widths=(32, 64, 96), depths=(1, 2, 3)),
    ),
    # For images of 32x32: maps of 16x16, 8x8, then 4x4.
    "cifar": (
        Stage(widths=(16, 32, 48), depths=(1, 2, 3)),
        Stage(widths=(32, 64, 96), depths=(1, 2, 3)),
        Stage(widths=(64, 128, 192), depths=(1, 2, 3)),
    ),
    # The same at half the size: what two CPU cores can train in half an hour.
    "cifar-small": (
        Stage(widths=(16, 32), depths=(1, 2)),
        Stage(widths=(32, 64), depths=(1, 2)),
        Stage(widths=(64, 128), depths=(1, 2)),
    ),
    # For images of 128x128 and more: four stages from a quarter of the resolution down.
    "mobile": (
        Stage(
            widths=(32, 48, 64), depths=(1, 2), resolution_step=4, mixers=("identity", "pooling", "depthwise")
        ),
        Stage(widths=(64, 96, 128), depths=(1, 2, 3), mixers=("identity", "pooling", "depthwise")),
        Stage(widths=(128, 192, 256), depths=(2, 4, 6)),
        Stage(widths=(192, 256, 384), depths=(1, 2, 3)),
    ),
}


PRESETS: dict[str, tuple[Stage, ...] | ConvNet] = {**METAFORMERS, **CONVNETS}


def preset(
    name: str,
    *,
    classes: int,
    input_shape: Shape,
    mixers: Sequence[str] = (),
    blocks: Sequence[str] = (),
    without: Collection[str] = (),
    activation: str = "relu",
    options: Options | None = None,
) -> SearchSpace:
    """The space of that name for a data set.

    Args:
        name: one of ``PRESETS``.
        classes: number of outputs of the head.
        input_shape: (C, H, W) of one image.
        mixers: names that replace the mixers of every stage, in a preset of MetaFormers; empty keeps the
            preset's.
        blocks: names that replace the blocks of every stage, in a preset of convolutional networks.
        without: mixers or blocks that are left out of every stage: what a device cannot run.
        activation: name of the activation of the convolutions.
        options: values of the mixers' or blocks' own choices, and their settings, by mixer or block and key,
            for every stage that has it: ``{"depthwise": {"kernel": (3, 5)}}``.

    Raises:
        ValueError: an unknown preset, mixer, block, activation or option, a value that an option cannot take,
            mixers for a preset that has blocks or the reverse, or a stage that is left without any.
    """
    if problems := naming_problems(name, mixers=mixers, blocks=blocks):
        raise ValueError("; ".join(f"{key}: {problem}" for key, problem in problems))
    known, options = PRESETS[name], options or {}
    refuse(known_kind(name), problems_with_options(name, options, mixers=mixers, blocks=blocks))
    if isinstance(known, ConvNet):
        kept = [_with_blocks(stage, blocks, without, options) for stage in known.stages]
        net = replace(known, stages=tuple(kept))
        return convnet(name, net, classes=classes, input_shape=input_shape, activation=activation)
    stages = [_with_mixers(stage, mixers, without, options) for stage in known]
    return metaformer(name, stages, classes=classes, input_shape=input_shape, activation=activation)


def known_kind(name: str) -> str:
    """What the stages of a preset choose from: ``mixer`` or ``block``."""
    return Block.KIND if isinstance(PRESETS[name], ConvNet) else Mixer.KIND


def operations(name: str, *, mixers: Sequence[str] = (), blocks: Sequence[str] = ()) -> list[str]:
    """The mixers or blocks of a preset's stages, without repeats.

    Args:
        name: one of ``PRESETS``.
        mixers: what replaces its mixers.
        blocks: what replaces its blocks.
    """
    known = PRESETS[name]
    if isinstance(known, ConvNet):
        return _once(blocks or (one for stage in known.stages for one in stage.blocks))
    return _once(mixers or (one for stage in known for one in stage.mixers))


def naming_problems(
    name: str, *, mixers: Sequence[str] = (), blocks: Sequence[str] = ()
) -> list[tuple[str, str]]:
    """What is wrong with a preset's name, or with replacing what it does not have; each with its key."""
    if name not in PRESETS:
        return [("preset", unknown("space", name, PRESETS))]
    kind = known_kind(name)
    return [
        (f"{other}s", f"preset {name!r} chooses among {kind}s; give them as {kind}s")
        for other, given in ((Mixer.KIND, mixers), (Block.KIND, blocks))
        if given and other != kind
    ]


def problems_with_options(
    name: str, options: Options, *, mixers: Sequence[str] = (), blocks: Sequence[str] = ()
) -> list[str]:
    """Everything that is wrong with a preset's options; lines begin with mixer or block, and key."""
    present = operations(name, mixers=mixers, blocks=blocks)
    check = block_problems if known_kind(name) == Block.KIND else option_problems
    return check(options, present)


def _once(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _with_mixers(stage: Stage, mixers: Sequence[str], left_out: Collection[str], options: Options) -> Stage:
    names = tuple(mixers) or stage.mixers
    # Shared out before mixers are left out: what one was given for a shared choice stays with the others.
    whole = shared_out(names, {name: own for name, own in options.items() if name in names})
    remaining = _remaining(Mixer.KIND, names, left_out, "['identity', 'pooling', 'depthwise']")
    return replace(stage, mixers=remaining, options={name: whole[name] for name in remaining})


def _with_blocks(
    stage: ConvStage, blocks: Sequence[str], left_out: Collection[str], options: Options
) -> ConvStage:
    """The stage with these blocks; values of their choices are the preset's where none are given."""
    names = tuple(blocks) or stage.blocks
    remaining = _remaining(Block.KIND, names, left_out, "['residual', 'mbconv']")
    whole = {name: {**stage.options.get(name, {}), **options.get(name, {})} for name in remaining}
    return replace(stage, blocks=remaining, options=whole)


def _remaining(kind: str, names: tuple[str, ...], left_out: Collection[str], others: str) -> tuple[str, ...]:
    remaining = tuple(name for name in names if name not in left_out)
    if not remaining:
        raise ValueError(
            f"without {', '.join(names)} no {kind} is left in the space; name others, such as "
            f"space.{kind}s = {others}"
        )
    return remaining
