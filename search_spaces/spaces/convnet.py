"""Convolutional networks as engineers draw them: a stem, stages of equal blocks, a pooled linear head.

Choices are the stride of the stem, and of each stage the width, the depth, the kind of block and the block's
own sizes. All blocks of a stage are alike, as in the hand-made families (ResNet, MobileNet, EfficientNet,
RegNet, ConvNeXt), which so are points of a space, and as in the AnyNet of "Designing Network Design Spaces"
(Radosavovic et al., CVPR 2020, section 3.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from torch import nn

from results.names import unknown
from search_spaces.blocks.recursive import TIMES, Repeated
from search_spaces.blocks.registry import Block, block, block_problems
from search_spaces.choice import Choice, Value
from search_spaces.entries import ENTRIES, StageEntry
from search_spaces.entries.registry import STRIDED
from search_spaces.layer import Layer, Slot
from search_spaces.operations.operation import Options
from search_spaces.operations.options import chosen, refuse
from search_spaces.parts import ACTIVATIONS, ConvNorm, Head
from search_spaces.space import Arch, SearchSpace, Shape
from search_spaces.spaces.pick import Pick, part_choices

STEM_STRIDE = "stem.stride"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvStage:
    """The choices of one stage.

    Attributes:
        widths: channel counts, ascending.
        depths: block counts, ascending.
        blocks: names of blocks, or of mixers for the MetaFormer blocks that have them, in any order.
        stride: stride of the stage's first block.
        entries: names of what stands before blocks that keep their shape, where it changes, in any order.
        recursions: how often every block but the first runs, on the same weights, ascending.
        options: values of the blocks' and entries' own choices, and their settings, by name and key.

    Raises:
        ValueError: an unknown block, option or value; widths that a block cannot take; values out of order;
            recursions of a stage that has one block.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    blocks: tuple[str, ...]
    stride: int = 2
    entries: tuple[str, ...] = (STRIDED,)
    recursions: tuple[int, ...] = (1,)
    options: Options = field(default_factory=dict)

    def __post_init__(self) -> None:
        for one in self.configured:
            one.refuse_widths(self.widths)
        for name in ("widths", "depths", "recursions"):
            values = getattr(self, name)
            if list(values) != sorted(set(values)) or not values or min(values) < 1:
                raise ValueError(f"{name} must be 1 or more, ascending and without repeats, got {values}")
        if max(self.recursions) > 1 and max(self.depths) == 1:
            raise ValueError(
                f"recursions {self.recursions} are of every block but the first; depths are {self.depths}: "
                f"give larger depths"
            )
        if both := set(self.entries) & set(self.blocks):
            raise ValueError(f"{sorted(both)[0]!r} is a block and an entry: name one of them otherwise")
        _ = self.configured_entries  # their options are right
        if not self.blocks or len(set(self.blocks)) != len(self.blocks):
            raise ValueError(f"a stage needs one block or more, none twice, got {self.blocks}")

    @property
    def configured(self) -> tuple[Block, ...]:
        """The blocks with their options."""
        found = [block(name) for name in self.blocks]
        own = {name: given for name, given in self.options.items() if name not in self.entries}
        refuse(Block.KIND, block_problems(own, self.blocks))
        return tuple(one.configured(own.get(one.name, {})) for one in found)

    @property
    def configured_entries(self) -> tuple[StageEntry, ...]:
        """The entries with their options."""
        return chosen(ENTRIES, self.entries, self.options)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvNet:
    """The choices of a space of convolutional networks, whatever the data.

    Attributes:
        stages: first to last.
        stem_strides: strides of the stem, ascending.
    """

    stages: tuple[ConvStage, ...]
    stem_strides: tuple[int, ...] = (1, 2)


def convnet(
    name: str, net: ConvNet, *, classes: int, input_shape: Shape, activation: str = "relu"
) -> SearchSpace:
    """A space of convolutional networks.

    Args:
        name: name of the space.
        net: its choices.
        classes: outputs of the head.
        input_shape: (C, H, W) of one image.
        activation: activation of the blocks, one for the whole space.

    Raises:
        ValueError: an unknown activation, or an image too small for the strides.
    """
    if activation not in ACTIVATIONS:
        raise ValueError(unknown("activation", activation, ACTIVATIONS))
    _refuse_small(net, input_shape)
    choices = [Choice(STEM_STRIDE, net.stem_strides)]
    slots: list[Slot] = []
    downs = 1  # stride of all stages so far
    for index, stage in enumerate(net.stages):
        here = _Place(
            name=f"stage{index}",
            previous=f"stage{index - 1}.width" if index else f"stage{index}.width",
            stage=stage,
            downs=downs,
            image=input_shape,
            activation=activation,
        )
        choices += _stage_choices(here)
        if not index:
            slots.append(_stem_slot(here))
        slots.append(_entry_slot(here))
        for number in range(max(stage.depths)):
            slots += [_block_slot(here, number, one) for one in stage.configured]
        downs *= stage.stride
    slots.append(_head_slot(here, classes))
    return SearchSpace(name, choices, slots=slots, input_shape=input_shape)


def _refuse_small(net: ConvNet, input_shape: Shape) -> None:
    side, strides = min(input_shape[1:]), (max(net.stem_strides), *(stage.stride for stage in net.stages))
    for at, stride in enumerate(strides):
        if side < stride:
            place = f"stage {at - 1}" if at else "the stem"
            raise ValueError(
                f"an input of {input_shape} has nothing left at {place} where the stem has a stride of "
                f"{strides[0]}; use fewer stages or smaller strides"
            )
        side = -(-side // stride)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """One stage where it stands.

    Attributes:
        name: its name, with which those of its choices and layers begin.
        previous: the choice of the width before it: of the stage before, or of the stem, which is its own.
        stage: its choices.
        downs: stride of all stages before it.
        image: (C, H, W) of one image.
        activation: activation of the space.
    """

    name: str
    previous: str
    stage: ConvStage
    downs: int
    image: Shape
    activation: str

    def maps(self, arch: Arch) -> tuple[tuple[int, int], tuple[int, int]]:
        """(height, width) of the maps before the stage and in it."""
        _, height, width = self.image
        before = _halved((height, width), int(arch[STEM_STRIDE]), self.downs)
        return before, _halved(before, self.stage.stride)

    def changes(self, arch: Arch) -> bool:
        """Whether the maps in the stage have another shape than those before it."""
        return self.stage.stride > 1 or arch[self.previous] != arch[f"{self.name}.width"]


def _halved(size: tuple[int, int], *strides: int) -> tuple[int, int]:
    """(height, width) after convolutions of these strides; ceil(ceil(n / a) / b) is ceil(n / ab)."""
    height, width = size
    for stride in strides:
        height, width = -(-height // stride), -(-width // stride)
    return height, width


def _stage_choices(here: _Place) -> list[Choice]:
    """Width, depth and block of a stage; then the blocks' own choices, active where the block is chosen, the
    entry where there are several, and how often blocks run.

    A choice of a block's with one value is no choice of the space.
    """
    stage, kind = here.stage, f"{here.name}.block"
    choices = [
        Choice(f"{here.name}.width", stage.widths),
        Choice(f"{here.name}.depth", stage.depths, role="depth"),
        Choice(kind, stage.blocks),
    ]
    for one in stage.configured:
        choices += [
            Choice(f"{here.name}.{one.name}.{own.name}", own.values, kind, (one.name,), own.role)
            for own in one.choices
            if len(own.values) > 1
        ]
    entered = tuple(one.name for one in stage.configured if one.entered)
    if entered:
        choices += part_choices(here.name, "entry", stage.configured_entries, kind, entered)
    if len(stage.recursions) > 1:
        deep = tuple(depth for depth in stage.depths if depth > 1)
        name = f"{here.name}.recursion"
        choices.append(Choice(name, stage.recursions, f"{here.name}.depth", deep, "depth"))
    return choices


def _layer(
    name: str,
    kind: str,
    make: Callable[..., nn.Module],
    input_shape: Shape,
    output_shape: Shape,
    sizes: Mapping[str, Value],
) -> Layer:
    ordered = tuple(sorted(sizes.items()))
    return Layer(
        name=name, kind=kind, sizes=ordered, input_shape=input_shape, output_shape=output_shape, make=make
    )


def _convolution(
    name: str, before: Shape, after: Shape, stride: int, activation: str, kind: str = "entry"
) -> Layer:
    """A 3x3 convolution that changes the shape."""
    sizes: dict[str, Value] = {"inputs": before[0], "outputs": after[0], "kernel": 3, "stride": stride}
    return _layer(name, kind, ConvNorm, before, after, {**sizes, "activation": activation})


def _stem_slot(first: _Place) -> Slot:
    """The convolution on the image, as wide as the first stage."""
    width = f"{first.name}.width"

    def layer(arch: Arch) -> Layer:
        after = (int(arch[width]), *first.maps(arch)[0])
        return _convolution("stem", first.image, after, int(arch[STEM_STRIDE]), first.activation)

    return Slot(name="stem", choices=(STEM_STRIDE, width), layer=layer)


def _entry_slot(here: _Place) -> Slot:
    """What stands before a stage of blocks that keep their shape, where it changes."""
    width, kind = f"{here.name}.width", f"{here.name}.block"
    entered = {one.name for one in here.stage.configured if one.entered}
    pick = Pick(here.name, "entry", {one.name: one for one in here.stage.configured_entries})

    def layer(arch: Arch) -> Layer | None:
        if arch[kind] not in entered or not here.changes(arch):
            return None
        before, after = here.maps(arch)
        shapes = ((int(arch[here.previous]), *before), (int(arch[width]), *after))
        one = here.stage.configured_entries[list(pick.parts).index(pick.name(arch))]
        stride, activation = here.stage.stride, here.activation
        if one.name == STRIDED:
            return _convolution(f"{here.name}_entry", *shapes, stride, activation)
        sizes: dict[str, Value] = {"inputs": shapes[0][0], "outputs": shapes[1][0], "stride": stride}
        own = one.values_at(pick.own(arch), shapes[0])
        whole = {**sizes, "activation": activation, **one.fixed, **own}
        return _layer(f"{here.name}_entry_{one.name}", one.name, one, *shapes, whole)

    names = (STEM_STRIDE, here.previous, width, kind, *(pick.choices if entered else ()))
    return Slot(name=f"{here.name}.entry", choices=_once(names), layer=layer)


def _block_slot(here: _Place, number: int, one: Block) -> Slot:
    """The block of one kind at one place of a stage. Each kind has a slot of its own: their choices differ,
    and the table of a slot holds every combination of its choices."""
    width, depth, kind = (f"{here.name}.{what}" for what in ("width", "depth", "block"))
    settled = {choice.name: choice.values[0] for choice in one.choices if len(choice.values) == 1}
    own = {
        choice.name: f"{here.name}.{one.name}.{choice.name}"
        for choice in one.choices
        if choice.name not in settled
    }
    changes = number == 0 and not one.entered
    recursions = here.stage.recursions if number else (1,)
    recursion = f"{here.name}.recursion"

    def layer(arch: Arch) -> Layer | None:
        if arch[kind] != one.name or (number and int(arch[depth]) <= number):
            return None
        before, after = here.maps(arch)
        outputs = int(arch[width])
        inputs, stride = (int(arch[here.previous]), here.stage.stride) if changes else (outputs, 1)
        shape = (outputs, *after)
        chosen = {name: arch[choice] for name, choice in own.items()}
        values = one.values_at({**settled, **chosen}, shape)
        given: dict[str, Value] = {
            "inputs": inputs,
            "outputs": outputs,
            "stride": stride,
            "activation": here.activation,
        }
        if max(recursions) > 1:  # also where it runs once, for the names of its weights
            given[TIMES] = arch[recursion] if len(recursions) > 1 else recursions[0]
        return _layer(
            f"{here.name}_block{number}_{one.name}",
            one.name,
            Repeated(one) if max(recursions) > 1 else one,
            (inputs, *(before if changes else after)),
            shape,
            {**given, **one.fixed, **values},
        )

    names = (STEM_STRIDE, *((here.previous,) if changes else ()), width, *((depth,) if number else ()), kind)
    more = (recursion,) if len(recursions) > 1 else ()
    return Slot(
        name=f"{here.name}.block{number}.{one.name}",
        choices=_once((*names, *own.values(), *more)),
        layer=layer,
    )


def _head_slot(last: _Place, classes: int) -> Slot:
    width = f"{last.name}.width"

    def layer(arch: Arch) -> Layer:
        channels = int(arch[width])
        shape = (channels, *last.maps(arch)[1])
        return _layer("head", "head", Head, shape, (classes,), {"channels": channels, "classes": classes})

    return Slot(name="head", choices=(STEM_STRIDE, width), layer=layer)


def _once(names: Iterable[str]) -> tuple[str, ...]:
    """The names without repeats: the width before the first stage is its own."""
    return tuple(dict.fromkeys(names))
