"""Spaces by name, at several sizes. A recipe names one; the data decides classes and input shape."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from results.names import unknown
from search_spaces.mixers.registry import Options, option_problems, refuse, shared_out
from search_spaces.space import SearchSpace, Shape
from search_spaces.spaces.metaformer import Stage, metaformer

PRESETS: dict[str, tuple[Stage, ...]] = {
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


def preset(
    name: str,
    *,
    classes: int,
    input_shape: Shape,
    mixers: Sequence[str] = (),
    without: Collection[str] = (),
    activation: str = "relu",
    options: Options | None = None,
) -> SearchSpace:
    """The space of that name for a data set.

    Args:
        name: one of ``PRESETS``.
        classes: number of outputs of the head.
        input_shape: (C, H, W) of one image.
        mixers: names that replace the mixers of every stage; empty keeps the preset's.
        without: mixers that are left out of every stage: what a device cannot run.
        activation: name of the activation of the convolutions.
        options: values of the mixers' own choices, and their settings, by mixer and key, for every stage that
            has the mixer: ``{"depthwise": {"kernel": (3, 5)}}``.

    Raises:
        ValueError: an unknown preset, mixer, activation or option, a value that an option cannot take, or a
            stage that is left without a mixer.
    """
    if name not in PRESETS:
        raise ValueError(unknown("space", name, PRESETS))
    stages = PRESETS[name]
    if mixers:
        stages = tuple(replace(stage, mixers=tuple(mixers)) for stage in stages)
    stages = tuple(_without(stage, without) for stage in _with_options(stages, options or {}))
    return metaformer(name, stages, classes=classes, input_shape=input_shape, activation=activation)


def _with_options(stages: Sequence[Stage], options: Options) -> list[Stage]:
    refuse(option_problems(options, (name for stage in stages for name in stage.mixers)))
    return [
        # Shared out before mixers are left out: what one was given for a shared choice stays with the others.
        replace(
            stage, options=shared_out(stage.mixers, {k: o for k, o in options.items() if k in stage.mixers})
        )
        for stage in stages
    ]


def _without(stage: Stage, left_out: Collection[str]) -> Stage:
    remaining = tuple(name for name in stage.mixers if name not in left_out)
    if not remaining:
        raise ValueError(
            f"without {', '.join(stage.mixers)} no mixer is left in the space; name others, such as "
            "space.mixers = ['identity', 'pooling', 'depthwise']"
        )
    options = {name: own for name, own in stage.options.items() if name in remaining}
    return replace(stage, mixers=remaining, options=options)
