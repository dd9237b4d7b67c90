"""The flagship space: a MetaFormer hierarchy whose mixers, kernels, depths, widths and ratios are choices.

"MetaFormer Baselines for Vision" (Yu et al., TPAMI 2024) is the skeleton: a stem, stages of blocks, each
block a token mixer and an MLP on residual paths, a pooled linear head. Norms follow the convolutions they
fold into, where MetaFormer puts them before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from torch import nn

from results.names import unknown
from search_spaces.choice import Choice, Value
from search_spaces.layer import Layer, Slot
from search_spaces.mixers import mixer
from search_spaces.parts import ACTIVATIONS, ConvNorm, Head, Mlp, Residual
from search_spaces.space import SearchSpace, Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The choices of one stage.

    Attributes:
        widths: channel counts, ascending.
        depths: block counts, ascending.
        mixers: names, in the order smallest network's to largest network's.
        kernels: odd sizes, ascending, for the mixers that read them.
        ratios: MLP hidden channels over channels, ascending.
        resolution_step: stride of the stage's first layer (the stem for the first stage).
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    mixers: tuple[str, ...] = ("identity", "pooling", "attention", "depthwise")
    kernels: tuple[int, ...] = (3, 5, 7)
    ratios: tuple[float, ...] = (1, 2, 4)
    resolution_step: int = 2

    def __post_init__(self) -> None:
        for name in self.mixers:
            multiple = mixer(name).channel_multiple
            wrong = [width for width in self.widths if width % multiple]
            if wrong:
                raise ValueError(f"mixer {name!r} needs widths that are multiples of {multiple}, got {wrong}")
        if any(kernel % 2 == 0 for kernel in self.kernels):
            raise ValueError(f"kernels must be odd, got {self.kernels}")
        if self.depths and min(self.depths) < 1:
            raise ValueError(f"depths must be at least 1, got {self.depths}")
        for field in ("widths", "depths", "kernels", "ratios"):
            values = getattr(self, field)
            if list(values) != sorted(set(values)) or not values:
                raise ValueError(f"{field} must be ascending and without repeats, got {values}")


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
        name: of the space.
        stages: first to last.
        classes: outputs of the head.
        input_shape: (C, H, W) of one image.
        activation: of the convolutions, one for the whole space.

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
        here = _Place(name=f"stage{index}", stage=stage, size=(height, width), activation=activation)
        choices += _stage_choices(here)
        slots.append(_entry_slot(here, previous, channels, before))
        for block in range(max(stage.depths)):
            slots += [_mixer_slot(here, block), _mlp_slot(here, block)]
        previous = f"{here.name}.width"
    slots.append(_head_slot(previous, (height, width), classes))
    return SearchSpace(name, choices, slots=slots, input_shape=input_shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """One stage where it stands: its name, its choices, the (height, width) of its maps."""

    name: str
    stage: Stage
    size: tuple[int, int]
    activation: str

    @property
    def reading(self) -> tuple[str, ...]:
        """The stage's mixers that read the kernel size."""
        return tuple(name for name in self.stage.mixers if mixer(name).reads_kernel)


def _stage_choices(here: _Place) -> list[Choice]:
    """Width and depth of a stage, then mixer, kernel and ratio of each block it may have."""
    stage, depth = here.stage, f"{here.name}.depth"
    choices = [Choice(f"{here.name}.width", stage.widths), Choice(depth, stage.depths)]
    for block in range(max(stage.depths)):
        prefix = f"{here.name}.block{block}"
        deep_enough = tuple(value for value in stage.depths if value > block)
        choices.append(Choice(f"{prefix}.mixer", stage.mixers, depth, deep_enough))
        if here.reading:
            choices.append(Choice(f"{prefix}.kernel", stage.kernels, f"{prefix}.mixer", here.reading))
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

    def layer(*widths: int) -> Layer:
        inputs, outputs = widths if previous else (channels, *widths)
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

    width = f"{here.name}.width"
    return Slot(name=f"{here.name}.entry", choices=(previous, width) if previous else (width,), layer=layer)


def _mixer_slot(here: _Place, block: int) -> Slot:
    prefix = f"{here.name}.block{block}"

    def layer(depth: int, width: int, name: str, kernel: int = 0) -> Layer | None:
        if depth <= block or mixer(name).make is None:
            return None
        reads = {"kernel": kernel} if mixer(name).reads_kernel else {}
        shape = (width, *here.size)
        return _layer(
            f"{here.name}_block{block}_{name}",
            name,
            partial(residual_mixer, name),
            shape,
            shape,
            channels=width,
            activation=here.activation,
            **reads,
        )

    choices: tuple[str, ...] = (f"{here.name}.depth", f"{here.name}.width", f"{prefix}.mixer")
    if here.reading:
        choices += (f"{prefix}.kernel",)
    return Slot(name=f"{prefix}.mixer", choices=choices, layer=layer)


def residual_mixer(name: str, **sizes: Value) -> nn.Module:
    """x + mixer(x) for the registered mixer of that name."""
    make = mixer(name).make
    if make is None:
        raise ValueError(f"mixer {name!r} has nothing to build")
    return Residual(make(**sizes))


def residual_mlp(channels: int, ratio: float, activation: str) -> nn.Module:
    """x + mlp(x)."""
    return Residual(Mlp(channels, ratio, activation))


def _mlp_slot(here: _Place, block: int) -> Slot:
    prefix = f"{here.name}.block{block}"

    def layer(depth: int, width: int, ratio: float) -> Layer | None:
        if depth <= block:
            return None
        shape = (width, *here.size)
        return _layer(
            f"{here.name}_block{block}_mlp",
            "mlp",
            residual_mlp,
            shape,
            shape,
            channels=width,
            ratio=ratio,
            activation=here.activation,
        )

    choices = (f"{here.name}.depth", f"{here.name}.width", f"{prefix}.ratio")
    return Slot(name=f"{prefix}.mlp", choices=choices, layer=layer)


def _head_slot(previous: str, size: tuple[int, int], classes: int) -> Slot:
    def layer(width: int) -> Layer:
        return _layer("head", "head", Head, (width, *size), (classes,), channels=width, classes=classes)

    return Slot(name="head", choices=(previous,), layer=layer)
