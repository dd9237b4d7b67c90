"""Spaces by name, at several sizes. A recipe names one; the data decides classes and input shape."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from results.names import unknown
from results.registry import Registry
from search_spaces.blocks.registry import Block, block_problems
from search_spaces.channel_mixers import CHANNEL_MIXERS
from search_spaces.entries import ENTRIES
from search_spaces.mixers.registry import Mixer, option_problems, shared_out
from search_spaces.operations.operation import Operation, Options
from search_spaces.operations.options import problems_of_options, refuse
from search_spaces.residuals import RESIDUALS
from search_spaces.space import SearchSpace, Shape
from search_spaces.spaces.convnet import ConvNet, ConvStage, convnet
from search_spaces.spaces.fast import CONVNETS
from search_spaces.spaces.known import KNOWN
from search_spaces.spaces.maps import Maps
from search_spaces.spaces.metaformer import MetaFormer, Stage, metaformer
from search_spaces.spaces.signals import SIGNALS

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


PRESETS: dict[str, MetaFormer | ConvNet] = {
    **{name: MetaFormer(stages=stages) for name, stages in {**METAFORMERS, **SIGNALS}.items()},
    **CONVNETS,
    **{name: known.space for name, known in KNOWN.items()},
}


def preset(
    name: str,
    *,
    classes: int,
    input_shape: Shape,
    mixers: Sequence[str] = (),
    blocks: Sequence[str] = (),
    channel_mixers: Sequence[str] = (),
    norms: Sequence[str] = (),
    residuals: Sequence[str] = (),
    entries: Sequence[str] = (),
    recursions: Sequence[int] = (),
    resolutions: Sequence[int] = (),
    strides: Sequence[int] = (),
    exits: Sequence[int] = (),
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
        channel_mixers: names that replace the channel mixers of every stage, in a preset of MetaFormers.
        norms: names that replace the norms of every stage, in a preset of MetaFormers.
        residuals: names that replace the residual forms of every stage, in a preset of MetaFormers.
        entries: names that replace the entries of every stage.
        recursions: how often the blocks of every stage but its first run, in a preset of convolutional
            networks, where a stage has more than one.
        resolutions: shorter sides of the images within the networks, in pixels, ascending, in place of the
            preset's; networks resize what they are given.
        strides: strides of the stem or first entry, ascending, in place of the preset's: sides of a patch,
            where that is a patch embedding.
        exits: numbers of stages after which networks may end early, ascending.
        without: parts that are left out of every stage: what a device cannot run.
        activation: name of the activation of the convolutions, where the preset names none.
        options: values of the parts' own choices, and their settings, by part and key, for every stage that
            has it, over those of the preset: ``{"depthwise": {"kernel": (3, 5)}}``.

    Raises:
        ValueError: an unknown preset, part, activation or option, a value that an option cannot take,
            mixers for a preset that has blocks or the reverse, a stage that is left without any, or sizes
            that the images do not go with.
    """
    named: Named = {
        "mixers": mixers,
        "blocks": blocks,
        "channel_mixers": channel_mixers,
        "norms": norms,
        "residuals": residuals,
        "entries": entries,
    }
    if problems := naming_problems(name, named, recursions):
        raise ValueError("; ".join(f"{key}: {problem}" for key, problem in problems))
    options = options or {}
    refuse(known_kind(name), problems_with_options(name, options, named))
    given = _given(name, named, without, options, GivenNumbers(recursions, resolutions, strides, exits))
    make: Callable[..., SearchSpace] = convnet if isinstance(given, ConvNet) else metaformer
    return make(name, given, classes=classes, input_shape=input_shape, activation=activation)


def _given(
    name: str,
    named: Named,
    without: Collection[str],
    options: Options,
    sizes: GivenNumbers,
) -> MetaFormer | ConvNet:
    """The choices of a preset with what was given in their place."""
    known = PRESETS[name]
    strides, exits = tuple(sizes.strides), tuple(sizes.exits)
    seen = tuple(sizes.resolutions) or known.resolutions
    if isinstance(known, ConvNet):
        stem = strides or known.stem_strides
        blocks = _conv_stages(known, named, without, options, sizes.recursions)
        return replace(known, stages=blocks, resolutions=seen, stem_strides=stem, exits=exits)
    first, *others = _metaformer_stages(known, named, without, options)
    first = replace(first, resolution_step=strides or first.resolution_step)
    return replace(known, stages=(first, *others), resolutions=seen, exits=exits)


def stage_problems(
    name: str,
    options: Options,
    named: Named,
    sizes: GivenNumbers,
    image: Shape,
) -> list[str]:
    """What is wrong with the first stage of a preset that does not hold together, or that images of this
    shape (C, H, W) are too small for; its names and options are right in themselves."""
    try:
        net = _given(name, named, (), options, sizes)
        net.refuse_small(Maps.of_images(image, net.resolutions))
    except ValueError as error:
        return [str(error)]
    return []


def _conv_stages(
    known: ConvNet, named: Named, without: Collection[str], options: Options, recursions: Sequence[int]
) -> tuple[ConvStage, ...]:
    found = []
    for index, one in enumerate(known.stages):
        with _told(index):
            stage = _conv_stage(one, named, without, options)
            deep = recursions and max(stage.depths) > 1
            found.append(replace(stage, recursions=tuple(recursions)) if deep else stage)
    return tuple(found)


def _metaformer_stages(
    known: MetaFormer, named: Named, without: Collection[str], options: Options
) -> list[Stage]:
    found = []
    for index, one in enumerate(known.stages):
        with _told(index):
            found.append(_metaformer_stage(one, named, without, options))
    return found


@contextlib.contextmanager
def _told(index: int) -> Iterator[None]:
    """What is raised inside, with the stage."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"stage {index}: {error}") from None


class GivenNumbers(NamedTuple):
    """Numbers that stand in the place of a preset's; see ``preset``."""

    recursions: Sequence[int] = ()
    resolutions: Sequence[int] = ()
    strides: Sequence[int] = ()
    exits: Sequence[int] = ()


Named = Mapping[str, Sequence[str]]
"""Names that replace those of a preset's stages, by key: ``mixers``, ``blocks``, and those of ``KINDS``."""

KINDS: Mapping[str, str] = {
    "channel_mixers": "channel mixer",
    "norms": "norm",
    "residuals": "residual form",
    "entries": "entry",
}
"""What stages choose among beside mixers or blocks, and what one of them is called."""


def known_kind(name: str) -> str:
    """What the stages of a preset choose from: ``mixer`` or ``block``."""
    return Block.KIND if isinstance(PRESETS[name], ConvNet) else Mixer.KIND


def operations(name: str, named: Named) -> list[str]:
    """Whatever a preset's stages choose among, without repeats.

    Args:
        name: one of ``PRESETS``.
        named: what replaces it.
    """
    return [one for key in keys_of(name) for one in _of_kind(name, key, named)]


def keys_of(name: str) -> tuple[str, ...]:
    """The keys of what the stages of a preset choose among."""
    if known_kind(name) == Block.KIND:
        return ("blocks", "entries")
    return ("mixers", *KINDS)


def _of_kind(name: str, key: str, named: Named) -> list[str]:
    """The names that the stages of a preset have of one kind, without repeats."""
    return _once(named.get(key) or (one for stage in PRESETS[name].stages for one in getattr(stage, key)))


def naming_problems(name: str, named: Named, recursions: Sequence[int] = ()) -> list[tuple[str, str]]:
    """What is wrong with a preset's name, or with replacing what it does not have; each with its key."""
    if name not in PRESETS:
        return [("preset", unknown("space", name, PRESETS))]
    kind, valid = known_kind(name), keys_of(name)
    found = []
    if recursions and kind == Mixer.KIND:
        found.append(("recursions", f"preset {name!r} has no blocks that run again; those of fast-32 have"))
    elif recursions and list(recursions) != sorted(set(recursions)):
        found.append(("recursions", f"values have to ascend, none twice, got {list(recursions)}"))
    for key in (key for key, given in named.items() if given and key not in valid):
        if key in KINDS:
            found.append((key, f"the stages of preset {name!r} have no choice of {KINDS[key]}s"))
        else:
            found.append((key, f"preset {name!r} chooses among {kind}s; give them as {kind}s"))
    return found


def problems_with_options(name: str, options: Options, named: Named) -> list[str]:
    """Everything that is wrong with a preset's options; lines begin with the part, and key."""
    found = []
    rest = dict(options)
    for key, registry in (
        ("channel_mixers", CHANNEL_MIXERS),
        ("residuals", RESIDUALS),
        ("entries", ENTRIES),
    ):
        own = {one: rest.pop(one) for one in registry if one in rest}
        present = _of_kind(name, key, named) if key in keys_of(name) else []
        found += problems_of_options(registry.kind, own, present, partial(_found, registry))
    key = keys_of(name)[0]
    check = block_problems if key == "blocks" else option_problems
    return [*found, *check(rest, _of_kind(name, key, named))]


def _found(registry: Registry[Any], name: str) -> Operation | None:
    return registry[name].part if name in registry else None


def _once(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _metaformer_stage(stage: Stage, named: Named, left_out: Collection[str], options: Options) -> Stage:
    """The stage with these parts; values of their choices are the preset's where none are given."""
    names = tuple(named["mixers"]) or stage.mixers
    remaining = _remaining(Mixer.KIND, names, left_out, "space.mixers = ['identity', 'pooling', 'depthwise']")
    others = _others(stage, named, left_out, KINDS)
    # Shared out before mixers are left out: what one was given for a shared choice stays with the others.
    own, given = (
        shared_out(names, {name: of[name] for name in names if name in of}) for of in (stage.options, options)
    )
    mixing = {name: {**own[name], **given[name]} for name in remaining}
    beside = _laid_over(stage.options, options, (name for names in others.values() for name in names))
    return replace(stage, mixers=remaining, options={**mixing, **beside}, **others)


def _conv_stage(stage: ConvStage, named: Named, left_out: Collection[str], options: Options) -> ConvStage:
    """The stage with these blocks; values of their choices are the preset's where none are given."""
    names = tuple(named["blocks"]) or stage.blocks
    remaining = _remaining(Block.KIND, names, left_out, "space.blocks = ['residual', 'mbconv']")
    others = _others(stage, named, left_out, ("entries",))
    whole = _laid_over(stage.options, options, (*remaining, *others["entries"]))
    return replace(stage, blocks=remaining, options=whole, **others)


def _laid_over(own: Options, given: Options, names: Iterable[str]) -> Options:
    """The options that these parts were given, over their own."""
    return {name: {**own.get(name, {}), **given.get(name, {})} for name in names}


def _others(
    stage: Stage | ConvStage, named: Named, left_out: Collection[str], keys: Iterable[str]
) -> dict[str, Any]:
    """What a stage chooses among beside its mixers, by key."""
    found = {}
    for key in keys:
        names = tuple(named[key]) or getattr(stage, key)
        found[key] = _remaining(KINDS[key], names, left_out, f"in space.{key}")
    return found


def _remaining(kind: str, names: tuple[str, ...], left_out: Collection[str], others: str) -> tuple[str, ...]:
    remaining = tuple(name for name in names if name not in left_out)
    if not remaining:
        raise ValueError(
            f"without {', '.join(names)} no {kind} is left in the space; name others, such as {others}"
        )
    return remaining
