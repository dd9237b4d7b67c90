"""The flagship space: a MetaFormer hierarchy whose mixers, kernels, depths, widths and ratios are choices.

"MetaFormer Baselines for Vision" (Yu et al., TPAMI 2024) is the skeleton: a stem, stages of blocks, each
block a token mixer and an MLP on residual paths, a pooled linear head. Norms follow the convolutions they
fold into, where MetaFormer puts them before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from torch import nn

from results.names import unknown
from search_spaces.choice import Choice, Value
from search_spaces.layer import Layer, Slot
from search_spaces.mixers.registry import Mixer, choices_of, configured
from search_spaces.operations.operation import Options
from search_spaces.parts import ACTIVATIONS, ConvNorm, Head, Mlp, Residual
from search_spaces.space import Arch, SearchSpace, Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The choices of one stage.

    Attributes:
        widths: channel counts, ascending.
        depths: block counts, ascending.
        mixers: names, in any order.
        ratios: MLP hidden channels over channels, ascending.
        resolution_step: stride of the stage's first layer (the stem for the first stage).
        options: values of the mixers' own choices, and their settings, by mixer and key; a choice that
            several mixers share takes the values given to any of them.

    Raises:
        ValueError: an unknown mixer, option or value; widths that a mixer cannot take; values out of order.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    mixers: tuple[str, ...] = ("identity", "pooling", "attention", "depthwise")
    ratios: tuple[float, ...] = (1, 2, 4)
    resolution_step: int = 2
    options: Options = field(default_factory=dict)

    def __post_init__(self) -> None:
        for one in self.configured:
            one.refuse_widths(self.widths)
        choices_of(self.configured)
        if self.depths and min(self.depths) < 1:
            raise ValueError(f"depths must be at least 1, got {self.depths}")
        for name in ("widths", "depths", "ratios"):
            values = getattr(self, name)
            if list(values) != sorted(set(values)) or not values:
                raise ValueError(f"{name} must be ascending and without repeats, got {values}")

    @property
    def configured(self) -> tuple[Mixer, ...]:
        """The mixers with their options."""
        return configured(self.mixers, self.options)


def metaformer(
    name: str,
    stages: Sequence[Stage],
    *,
    classes: int,
    input_shape: Shape,
    activation: str = "relu",
) -> SearchSpace:
    """A space of MetaFormer hierarchies.

    Args:
        name: name of the space.
        stages: first to last.
        classes: outputs of the head.
        input_shape: (C, H, W) of one image.
        activation: activation of the convolutions, one for the whole space.

    Raises:
        ValueError: an unknown mixer or activation, widths a mixer cannot take, an image too small for
            the stages.
    """
    if activation not in ACTIVATIONS:
        raise ValueError(unknown("activation", activation, ACTIVATIONS))
    channels, height, width = input_shape
    choices: list[Choice] = []
    slots: list[Slot] = []
    previous = ""
    for index, stage in enumerate(stages):
        before = (height, width)
        if min(before) < stage.resolution_step:
            raise ValueError(f"an input of {input_shape} has nothing left at stage {index}; use fewer stages")
        height, width = -(-height // stage.resolution_step), -(-width // stage.resolution_step)
        here = _Place(
            name=f"stage{index}",
            stage=stage,
            size=(height, width),
            activation=activation,
            mixers={one.name: one for one in stage.configured},
        )
        choices += _stage_choices(here)
        slots.append(_entry_slot(here, previous, channels, before))
        for block in range(max(stage.depths)):
            slots += [_mixer_slot(here, block), _mlp_slot(here, block)]
        previous = f"{here.name}.width"
    slots.append(_head_slot(previous, (height, width), classes))
    return SearchSpace(name, choices, slots=slots, input_shape=input_shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """One stage where it stands: its name, its choices, the (height, width) of its maps, its mixers."""

    name: str
    stage: Stage
    size: tuple[int, int]
    activation: str
    mixers: Mapping[str, Mixer]


def _stage_choices(here: _Place) -> list[Choice]:
    """Width and depth of a stage; then mixer, the mixers' own choices and ratio of each block it may have."""
    stage, depth = here.stage, f"{here.name}.depth"
    own = choices_of(here.mixers.values())
    choices = [Choice(f"{here.name}.width", stage.widths), Choice(depth, stage.depths, role="depth")]
    for block in range(max(stage.depths)):
        prefix = f"{here.name}.block{block}"
        deep_enough = tuple(value for value in stage.depths if value > block)
        choices.append(Choice(f"{prefix}.mixer", stage.mixers, depth, deep_enough))
        choices += [
            Choice(f"{prefix}.{name}", choice.values, f"{prefix}.mixer", readers, choice.role)
            for name, (choice, readers) in own.items()
        ]
        choices.append(Choice(f"{prefix}.ratio", stage.ratios, depth, deep_enough))
    return choices


def _layer(
    name: str,
    kind: str,
    make: Callable[..., nn.Module],
    input_shape: Shape,
    output_shape: Shape,
    **sizes: Value,
) -> Layer:
    ordered = tuple(sorted(sizes.items()))
    return Layer(
        name=name, kind=kind, sizes=ordered, input_shape=input_shape, output_shape=output_shape, make=make
    )


def _entry_slot(here: _Place, previous: str, channels: int, before: tuple[int, int]) -> Slot:
    """The convolution that starts a stage: the stem, or a downsampling one between two widths."""

    width = f"{here.name}.width"

    def layer(arch: Arch) -> Layer:
        inputs, outputs = int(arch[previous]) if previous else channels, int(arch[width])
        return _layer(
            f"{here.name}_entry",
            "entry",
            ConvNorm,
            (inputs, *before),
            (outputs, *here.size),
            inputs=inputs,
            outputs=outputs,
            kernel=3,
            stride=here.stage.resolution_step,
            activation=here.activation,
        )

    return Slot(name=f"{here.name}.entry", choices=(previous, width) if previous else (width,), layer=layer)


def _mixer_slot(here: _Place, block: int) -> Slot:
    prefix = f"{here.name}.block{block}"
    depth, width, which = f"{here.name}.depth", f"{here.name}.width", f"{prefix}.mixer"

    def layer(arch: Arch) -> Layer | None:
        one, channels = here.mixers[str(arch[which])], int(arch[width])
        if int(arch[depth]) <= block or one.make is None:
            return None
        shape = (channels, *here.size)
        own = one.values_at({choice.name: arch[f"{prefix}.{choice.name}"] for choice in one.choices}, shape)
        return _layer(
            f"{here.name}_block{block}_{one.name}",
            one.name,
            partial(residual_mixer, one),
            shape,
            shape,
            channels=channels,
            activation=here.activation,
            **one.fixed,
            **own,
        )

    own = tuple(f"{prefix}.{name}" for name in choices_of(here.mixers.values()))
    return Slot(name=which, choices=(depth, width, which, *own), layer=layer)


def residual_mixer(one: Mixer, channels: int, activation: str, **values: Value) -> nn.Module:
    """x + mixer(x). It holds the mixer itself: one that a user registers is in no registry of a worker."""
    return Residual(one(channels, activation=activation, **values))


def residual_mlp(channels: int, ratio: float, activation: str) -> nn.Module:
    """x + mlp(x)."""
    return Residual(Mlp(channels, ratio, activation))


def _mlp_slot(here: _Place, block: int) -> Slot:
    prefix = f"{here.name}.block{block}"
    depth, width, ratio = f"{here.name}.depth", f"{here.name}.width", f"{prefix}.ratio"

    def layer(arch: Arch) -> Layer | None:
        if int(arch[depth]) <= block:
            return None
        channels = int(arch[width])
        shape = (channels, *here.size)
        return _layer(
            f"{here.name}_block{block}_mlp",
            "mlp",
            residual_mlp,
            shape,
            shape,
            channels=channels,
            ratio=arch[ratio],
            activation=here.activation,
        )

    return Slot(name=f"{prefix}.mlp", choices=(depth, width, ratio), layer=layer)


def _head_slot(previous: str, size: tuple[int, int], classes: int) -> Slot:
    def layer(arch: Arch) -> Layer:
        width = int(arch[previous])
        return _layer("head", "head", Head, (width, *size), (classes,), channels=width, classes=classes)

    return Slot(name="head", choices=(previous,), layer=layer)
