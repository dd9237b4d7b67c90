"""The flagship space: a MetaFormer hierarchy whose mixers, kernels, depths, widths and ratios are choices.

"MetaFormer Baselines for Vision" (Yu et al., TPAMI 2024) is the skeleton: a stem, stages of blocks, each
block a token mixer and an MLP on residual paths, a pooled linear head. Norms follow the convolutions they
fold into, where MetaFormer puts them before. A stage may also choose among channel mixers, norms, residual
forms and entries; with one of each, which is the default, these are no choices of the space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from results.names import unknown
from search_spaces.choice import Choice
from search_spaces.mixers.registry import choices_of
from search_spaces.parts import ACTIVATIONS
from search_spaces.space import SearchSpace, Shape
from search_spaces.spaces.exits import exit_head, refuse_exits, with_exits
from search_spaces.spaces.head import HeadSizes
from search_spaces.spaces.maps import Maps
from search_spaces.spaces.metaformer_slots import (
    StagePlace,
    channel_mixer_slots,
    entry_slot,
    mixer_slots,
)
from search_spaces.spaces.pick import part_choices
from search_spaces.spaces.stage import Stage as Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class MetaFormer:
    """The choices of a space of MetaFormers, whatever the data.

    Attributes:
        stages: first to last.
        resolutions: shorter sides of the images within the networks, in pixels, ascending; empty for images
            as they are.
        exits: numbers of stages after which a network may end early, ascending.
        hidden_width: features of a linear layer between pooling and classifier; 0 for none.

    Raises:
        ValueError: exits that there cannot be.
    """

    stages: tuple[Stage, ...]
    resolutions: tuple[int, ...] = ()
    exits: tuple[int, ...] = ()
    hidden_width: int = 0

    def __post_init__(self) -> None:
        refuse_exits(self.exits, len(self.stages))

    def refuse_small(self, images: Maps) -> None:
        """Refuses images that nothing is left of.

        Raises:
            ValueError: says where.
        """
        height, width = images.smallest
        for index, stage in enumerate(self.stages):
            stride = max(stage.strides)
            # A side of one stays one: that of a signal, which has one row.
            if min((side for side in (height, width) if side > 1), default=1) < stride:
                raise ValueError(
                    f"an input of {images.told} has nothing left at stage {index}; use fewer stages or "
                    f"smaller strides"
                )
            height, width = -(-height // stride), -(-width // stride)


def metaformer(
    name: str,
    net: MetaFormer | Sequence[Stage],
    *,
    classes: int,
    input_shape: Shape,
    activation: str = "relu",
) -> SearchSpace:
    """A space of MetaFormer hierarchies.

    Args:
        name: name of the space.
        net: its choices, or its stages where they are all of it.
        classes: outputs of the head.
        input_shape: (C, H, W) of one image.
        activation: activation of the convolutions of stages that name none.

    Raises:
        ValueError: an unknown mixer or activation, widths a mixer cannot take, an image too small for
            the stages, or for a resolution.
    """
    if activation not in ACTIVATIONS:
        raise ValueError(unknown("activation", activation, ACTIVATIONS))
    net = net if isinstance(net, MetaFormer) else MetaFormer(stages=tuple(net))
    maps = Maps.of_images(input_shape, net.resolutions)
    net.refuse_small(maps)
    choices = [*maps.searched]
    slots = [*maps.slots()]
    previous, inside = "", []
    for index, stage in enumerate(net.stages):
        here = StagePlace.of(f"stage{index}", stage, maps, stage.activation or activation)
        choices += _stage_choices(here)
        slots.append(entry_slot(here, previous, input_shape[0]))
        for block in range(max(stage.depths)):
            slots += [*mixer_slots(here, block), *channel_mixer_slots(here, block)]
        previous, maps = f"{here.name}.width", here.maps
        inside.append(maps)
    head = HeadSizes(classes=classes, hidden=net.hidden_width, activation=here.activation)
    heads = [exit_head(at, len(inside), maps, head) for at, maps in enumerate(inside)]
    choices, slots = with_exits(choices, slots, heads, net.exits)
    return SearchSpace(name, choices, slots=slots, input_shape=input_shape)


def _stage_choices(here: StagePlace) -> list[Choice]:
    """Width, depth and entry of a stage; then those of each block it may have."""
    stage, depth = here.stage, f"{here.name}.depth"
    choices = [Choice(f"{here.name}.width", stage.widths), Choice(depth, stage.depths, role="depth")]
    choices += [here.stride] if here.stride else []
    choices += part_choices(here.name, "entry", list(here.entries.values()), "", ())
    for block in range(max(stage.depths)):
        choices += _block_choices(here, block)
    return choices


def _block_choices(here: StagePlace, block: int) -> list[Choice]:
    """Mixer, the mixers' own choices and ratio of a block; channel mixer, norm and residual form with theirs,
    where there is more than one of them."""
    stage, depth, prefix = here.stage, f"{here.name}.depth", f"{here.name}.block{block}"
    deep_enough = tuple(value for value in stage.depths if value > block)
    choices = [Choice(f"{prefix}.mixer", stage.mixers, depth, deep_enough)]
    choices += [
        Choice(f"{prefix}.{name}", choice.values, f"{prefix}.mixer", readers, choice.role)
        for name, (choice, readers) in choices_of(here.mixers.values()).items()
    ]
    choices.append(Choice(f"{prefix}.ratio", stage.ratios, depth, deep_enough))
    for what, found in (("channel_mixer", here.channel_mixers), ("residual", here.residuals)):
        choices += part_choices(prefix, what, list(found.values()), depth, deep_enough)
    if len(stage.norms) > 1:
        choices.append(Choice(f"{prefix}.norm", stage.norms, depth, deep_enough))
    return choices
