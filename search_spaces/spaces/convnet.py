"""Convolutional networks as engineers draw them: a stem, stages of equal blocks, a pooled linear head.

Choices are the stride of the stem, and of each stage the width, the depth, the kind of block and the block's
own sizes. All blocks of a stage are alike, as in the hand-made families (ResNet, MobileNet, EfficientNet,
RegNet, ConvNeXt), which so are points of a space, and as in the AnyNet of "Designing Network Design Spaces"
(Radosavovic et al., CVPR 2020, section 3.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from results.names import unknown
from search_spaces.blocks.recursive import TIMES, Repeated
from search_spaces.blocks.registry import Block, block, block_problems
from search_spaces.choice import Choice, Value
from search_spaces.entries import ENTRIES, StageEntry
from search_spaces.entries.registry import STRIDED
from search_spaces.layer import Layer, Slot
from search_spaces.operations.operation import Options
from search_spaces.operations.options import chosen, refuse
from search_spaces.parts import ACTIVATIONS
from search_spaces.space import Arch, SearchSpace, Shape
from search_spaces.spaces.entering import entering
from search_spaces.spaces.exits import exit_head, refuse_exits, with_exits
from search_spaces.spaces.head import HeadSizes
from search_spaces.spaces.maps import Maps, Size
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
        alike: whether all blocks of a network's stage take the same values of their own choices; otherwise
            each has choices of its own, ``stageI.blockJ.BLOCK.NAME``, and the stage one kind of block.
        activation: activation of its layers, whatever the space's; empty takes that.

    Raises:
        ValueError: an unknown block, option, value or activation; widths that a block cannot take; values out
            of order; recursions of a stage that has one block; several blocks where they are not alike.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    blocks: tuple[str, ...]
    stride: int = 2
    entries: tuple[str, ...] = (STRIDED,)
    recursions: tuple[int, ...] = (1,)
    options: Options = field(default_factory=dict)
    alike: bool = True
    activation: str = ""

    def __post_init__(self) -> None:
        if self.activation and self.activation not in ACTIVATIONS:
            raise ValueError(unknown("activation", self.activation, ACTIVATIONS))
        if not self.alike and len(self.blocks) > 1:
            raise ValueError(
                f"each block of this stage has choices of its own, so that it takes one kind of block, got "
                f"{self.blocks}"
            )
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
        resolutions: shorter sides of the images within the networks, in pixels, ascending; empty for images
            as they are.
        exits: numbers of stages after which a network may end early, ascending.
        stem: name of the entry that the stem is.
        stem_options: its settings, and one value for each of its choices.
        stem_width: channels of the stem; 0 takes those of the first stage.
        last_width: channels of a 1x1 convolution before the pooling of the head; 0 for none.
        hidden_width: features of a linear layer between pooling and classifier; 0 for none.
        activation: activation of stem, head and stages that name none; empty takes the space's.

    Raises:
        ValueError: an unknown stem or setting of it, strides out of order, or exits that there cannot be.
    """

    stages: tuple[ConvStage, ...]
    stem_strides: tuple[int, ...] = (1, 2)
    resolutions: tuple[int, ...] = ()
    exits: tuple[int, ...] = ()
    stem: str = STRIDED
    stem_options: Mapping[str, Value] = field(default_factory=dict)
    stem_width: int = 0
    last_width: int = 0
    hidden_width: int = 0
    activation: str = ""

    def __post_init__(self) -> None:
        strides = self.stem_strides
        if list(strides) != sorted(set(strides)) or not strides or strides[0] < 1:
            raise ValueError(f"stem_strides must be 1 or more, ascending and without repeats, got {strides}")
        refuse_exits(self.exits, len(self.stages))
        _ = self.configured_stem  # its options are right

    @property
    def configured_stem(self) -> StageEntry:
        """The stem with its options."""
        return chosen(ENTRIES, (self.stem,), {self.stem: self.stem_options})[0]

    def refuse_small(self, images: Maps) -> None:
        """Refuses images that nothing is left of.

        Raises:
            ValueError: says where.
        """
        side = min(images.smallest)
        strides = (max(self.stem_strides), *(stage.stride for stage in self.stages))
        for at, stride in enumerate(strides):
            if side < stride:
                place = f"stage {at - 1}" if at else "the stem"
                raise ValueError(
                    f"an input of {images.told} has nothing left at {place} where the stem has a stride of "
                    f"{strides[0]}; use fewer stages or smaller strides"
                )
            side = -(-side // stride)


def convnet(
    name: str, net: ConvNet, *, classes: int, input_shape: Shape, activation: str = "relu"
) -> SearchSpace:
    """A space of convolutional networks.

    Args:
        name: name of the space.
        net: its choices.
        classes: outputs of the head.
        input_shape: (C, H, W) of one image.
        activation: activation of everything for which ``net`` names none.

    Raises:
        ValueError: an unknown activation, an image too small for the strides, or for a resolution.
    """
    if activation not in ACTIVATIONS:
        raise ValueError(unknown("activation", activation, ACTIVATIONS))
    images = Maps.of_images(input_shape, net.resolutions)
    net.refuse_small(images)
    activation = net.activation or activation
    choices = [*images.searched, Choice(STEM_STRIDE, net.stem_strides)]
    slots = [*images.slots()]
    before, inside = images.after(STEM_STRIDE), []
    for index, stage in enumerate(net.stages):
        here = _Place(
            name=f"stage{index}",
            previous=f"stage{index - 1}.width" if index else f"stage{index}.width",
            stem_width=0 if index else net.stem_width,
            stage=stage,
            before=before,
            activation=stage.activation or activation,
        )
        choices += _stage_choices(here)
        if not index:
            slots.append(_stem_slot(here, images, net, activation))
        slots.append(_entry_slot(here))
        for number in range(max(stage.depths)):
            slots += [_block_slot(here, number, one) for one in stage.configured]
        before = here.after
        inside.append(before)
    head = HeadSizes(classes=classes, last=net.last_width, hidden=net.hidden_width, activation=activation)
    heads = [exit_head(at, len(inside), maps, head) for at, maps in enumerate(inside)]
    choices, slots = with_exits(choices, slots, heads, net.exits)
    return SearchSpace(name, choices, slots=slots, input_shape=input_shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """One stage where it stands.

    Attributes:
        name: its name, with which those of its choices and layers begin.
        previous: the choice of the width before it: of the stage before, or of the stem, which is its own.
        stem_width: channels before it where they are no choice; else 0.
        stage: its choices.
        before: the maps before it.
        activation: activation of its layers.
    """

    name: str
    previous: str
    stem_width: int
    stage: ConvStage
    before: Maps
    activation: str

    @property
    def after(self) -> Maps:
        """The maps in it."""
        return self.before.after(self.stage.stride)

    def maps(self, arch: Arch) -> tuple[Size, Size]:
        """(height, width) of the maps before the stage and in it."""
        return self.before.at(arch), self.after.at(arch)

    def inputs(self, arch: Arch) -> int:
        """Channels of the maps before the stage."""
        return self.stem_width or int(arch[self.previous])

    def changes(self, arch: Arch) -> bool:
        """Whether the maps in the stage have another shape than those before it."""
        return self.stage.stride > 1 or self.inputs(arch) != arch[f"{self.name}.width"]

    def owner(self, number: int, one: Block) -> str:
        """What the names of a block's own choices begin with."""
        return f"{self.name}.{one.name}" if self.stage.alike else f"{self.name}.block{number}.{one.name}"

    def own_choices(self, number: int, one: Block, parent: str, values: tuple[Value, ...]) -> list[Choice]:
        """A block's own choices; one with a single value is no choice of the space."""
        return [
            Choice(f"{self.owner(number, one)}.{own.name}", own.values, parent, values, own.role)
            for own in one.choices
            if len(own.values) > 1
        ]


def _stage_choices(here: _Place) -> list[Choice]:
    """Width, depth and block of a stage; then the blocks' own choices, active where the block is chosen or
    its place is filled, the entry where there are several, and how often blocks run.
    """
    stage, kind, depth = here.stage, f"{here.name}.block", f"{here.name}.depth"
    choices = [
        Choice(f"{here.name}.width", stage.widths),
        Choice(depth, stage.depths, role="depth"),
        Choice(kind, stage.blocks),
    ]
    for one in stage.configured:
        if stage.alike:
            choices += here.own_choices(0, one, kind, (one.name,))
            continue
        for number in range(max(stage.depths)):
            filled = tuple(value for value in stage.depths if value > number)
            choices += here.own_choices(number, one, depth, filled)
    entered = tuple(one.name for one in stage.configured if one.entered)
    if entered:
        choices += part_choices(here.name, "entry", stage.configured_entries, kind, entered)
    if len(stage.recursions) > 1:
        deep = tuple(value for value in stage.depths if value > 1)
        choices.append(Choice(f"{here.name}.recursion", stage.recursions, depth, deep, "depth"))
    return choices


def _stem_slot(first: _Place, images: Maps, net: ConvNet, activation: str) -> Slot:
    """What stands on the image, as wide as the first stage unless the space says how wide."""
    width = f"{first.name}.width"
    one = net.configured_stem
    own = {choice.name: choice.values[0] for choice in one.choices}

    def layer(arch: Arch) -> Layer:
        given = (images.image[0], *images.at(arch))
        after = (first.inputs(arch), *first.before.at(arch))
        sizes: dict[str, Value] = {"stride": arch[STEM_STRIDE], "activation": activation, **own}
        return entering("stem", one, given, after, sizes)

    return Slot(name="stem", choices=(*first.before.choices, width), layer=layer)


def _entry_slot(here: _Place) -> Slot:
    """What stands before a stage of blocks that keep their shape, where it changes."""
    width, kind = f"{here.name}.width", f"{here.name}.block"
    entered = {one.name for one in here.stage.configured if one.entered}
    entries = {one.name: one for one in here.stage.configured_entries}
    pick = Pick(here.name, "entry", entries)

    def layer(arch: Arch) -> Layer | None:
        if arch[kind] not in entered or not here.changes(arch):
            return None
        before, after = here.maps(arch)
        shapes = ((here.inputs(arch), *before), (int(arch[width]), *after))
        one = entries[pick.name(arch)]
        own = one.values_at(pick.own(arch), shapes[0])
        sizes: dict[str, Value] = {"stride": here.stage.stride, "activation": here.activation, **own}
        return entering(f"{here.name}_entry", one, *shapes, sizes)

    names = (*here.before.choices, here.previous, width, kind, *(pick.choices if entered else ()))
    return Slot(name=f"{here.name}.entry", choices=_once(names), layer=layer)


def _block_slot(here: _Place, number: int, one: Block) -> Slot:
    """The block of one kind at one place of a stage. Each kind has a slot of its own: their choices differ,
    and the table of a slot holds every combination of its choices."""
    width, depth, kind = (f"{here.name}.{what}" for what in ("width", "depth", "block"))
    settled = {choice.name: choice.values[0] for choice in one.choices if len(choice.values) == 1}
    own = {
        choice.name: f"{here.owner(number, one)}.{choice.name}"
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
        inputs, stride = (here.inputs(arch), here.stage.stride) if changes else (outputs, 1)
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
        return Layer.of(
            f"{here.name}_block{number}_{one.name}",
            one.name,
            Repeated(one) if max(recursions) > 1 else one,
            (inputs, *(before if changes else after)),
            shape,
            {**given, **one.fixed, **values},
        )

    names = (*here.before.choices, *((here.previous,) if changes else ()), width)
    names = (*names, *((depth,) if number else ()), kind)
    more = (recursion,) if len(recursions) > 1 else ()
    return Slot(
        name=f"{here.name}.block{number}.{one.name}",
        choices=_once((*names, *own.values(), *more)),
        layer=layer,
    )


def _once(names: Iterable[str]) -> tuple[str, ...]:
    """The names without repeats: the width before the first stage is its own."""
    return tuple(dict.fromkeys(names))
