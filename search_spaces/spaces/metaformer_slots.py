"""The places of a MetaFormer and the layers that stand there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from search_spaces.channel_mixers import ChannelMixer
from search_spaces.choice import Choice, Value
from search_spaces.entries import StageEntry
from search_spaces.layer import Layer, Slot
from search_spaces.mixers.registry import Mixer
from search_spaces.norms import Norm
from search_spaces.norms.registry import norm
from search_spaces.operations.operation import Operation
from search_spaces.residuals import ResidualForm
from search_spaces.residuals.branch import Branch
from search_spaces.space import Arch
from search_spaces.spaces.entering import entering
from search_spaces.spaces.maps import Maps
from search_spaces.spaces.pick import Pick
from search_spaces.spaces.stage import Stage

Kind = TypeVar("Kind", bound=Operation)


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlace:
    """One stage where it stands: name, choices, the maps before it and in it, and its parts by name."""

    name: str
    stage: Stage
    before: Maps
    activation: str
    mixers: Mapping[str, Mixer]
    channel_mixers: Mapping[str, ChannelMixer]
    norms: Mapping[str, Norm | None]
    residuals: Mapping[str, ResidualForm]
    entries: Mapping[str, StageEntry]

    @classmethod
    def of(cls, name: str, stage: Stage, before: Maps, activation: str) -> StagePlace:
        """The place of a stage."""
        return cls(
            name=name,
            stage=stage,
            before=before,
            activation=activation,
            mixers=_by_name(stage.configured),
            channel_mixers=_by_name(stage.configured_channel_mixers),
            norms={one: norm(one) for one in stage.norms},
            residuals=_by_name(stage.configured_residuals),
            entries=_by_name(stage.configured_entries),
        )

    @property
    def stride(self) -> Choice | None:
        """The choice of the stride of what starts it, where there are several."""
        strides = self.stage.strides
        return Choice(f"{self.name}.stride", strides) if len(strides) > 1 else None

    @property
    def maps(self) -> Maps:
        """The maps in it."""
        return self.before.after(self.stride.name if self.stride else self.stage.strides[0])


def _by_name(found: Iterable[Kind]) -> dict[str, Kind]:
    return {one.name: one for one in found}


def entry_slot(here: StagePlace, previous: str, channels: int) -> Slot:
    """What starts a stage: the stem, or what downsamples between two widths.

    Where it has several strides, it has weights of its own for each: the kernel of a smaller patch is no
    part of that of a larger one.

    Args:
        here: the stage.
        previous: choice of the width before it; empty where the image is.
        channels: those of the image.
    """
    width, pick = f"{here.name}.width", Pick(here.name, "entry", here.entries)
    maps, chosen = here.maps, here.stride

    def layer(arch: Arch) -> Layer:
        inputs, outputs = int(arch[previous]) if previous else channels, int(arch[width])
        shapes = (inputs, *here.before.at(arch)), (outputs, *maps.at(arch))
        stride = int(arch[chosen.name]) if chosen else here.stage.strides[0]
        one = here.entries[pick.name(arch)]
        own = one.values_at(pick.own(arch), shapes[0])
        sizes: dict[str, Value] = {"stride": stride, "activation": here.activation, **own}
        return entering(f"{here.name}_entry", one, *shapes, sizes, apart=f"_{stride}" if chosen else "")

    names = (*maps.choices, *((previous,) if previous else ()), width)
    return Slot(name=f"{here.name}.entry", choices=(*names, *pick.choices), layer=layer)


def _branch(here: StagePlace, prefix: str, one: Operation, arch: Arch) -> tuple[Branch, dict[str, Value]]:
    """The half of a block that has this operation, and what its sizes are beside the operation's."""
    pick = Pick(prefix, "residual", here.residuals)
    named = str(arch[f"{prefix}.norm"]) if len(here.norms) > 1 else next(iter(here.norms))
    form = here.residuals[pick.name(arch)]
    branch = Branch(operation=one, norm=named, make_norm=here.norms[named], form=form)
    return branch, branch.sizes(pick.own(arch))


def _around(here: StagePlace, prefix: str) -> tuple[str, ...]:
    """The choices of what stands around both halves of a block."""
    own = (f"{prefix}.norm",) if len(here.norms) > 1 else ()
    return (*own, *Pick(prefix, "residual", here.residuals).choices)


def mixer_slots(here: StagePlace, block: int) -> list[Slot]:
    """The first half of a block. Mixers with the same choices, or none, have one slot; others have their own,
    as the table of a slot holds every combination of its choices."""
    prefix = f"{here.name}.block{block}"
    return [
        _mixer_slot(here, block, group, f"{prefix}.mixer" if not at else f"{prefix}.mixer.{group[0].name}")
        for at, group in enumerate(_groups(list(here.mixers.values())))
    ]


def _groups(mixers: Sequence[Mixer]) -> list[list[Mixer]]:
    """Mixers by the names of their choices; those without any are in the first group."""
    groups: dict[frozenset[str], list[Mixer]] = {}
    for one in (one for one in mixers if one.choices):
        groups.setdefault(frozenset(choice.name for choice in one.choices), []).append(one)
    free = [one for one in mixers if not one.choices]
    first, *others = groups.values() or [[]]
    return [[*free, *first], *others]


def _mixer_slot(here: StagePlace, block: int, group: Sequence[Mixer], name: str) -> Slot:
    prefix = f"{here.name}.block{block}"
    depth, width, which = f"{here.name}.depth", f"{here.name}.width", f"{prefix}.mixer"
    names = {one.name for one in group}
    maps = here.maps

    def layer(arch: Arch) -> Layer | None:
        if str(arch[which]) not in names:
            return None
        one, channels = here.mixers[str(arch[which])], int(arch[width])
        if int(arch[depth]) <= block or one.make is None:
            return None
        shape = (channels, *maps.at(arch))
        own = one.values_at({choice.name: arch[f"{prefix}.{choice.name}"] for choice in one.choices}, shape)
        branch, around = _branch(here, prefix, one, arch)
        sizes = {"channels": channels, "activation": here.activation, **one.fixed, **own, **around}
        return Layer.of(
            f"{here.name}_block{block}_{one.name}{branch.suffix}", one.name, branch, shape, shape, sizes
        )

    own = dict.fromkeys(f"{prefix}.{choice.name}" for one in group for choice in one.choices)
    names_of_all = (*maps.choices, depth, width, which, *own, *_around(here, prefix))
    return Slot(name=name, choices=names_of_all, layer=layer)


def channel_mixer_slots(here: StagePlace, block: int) -> list[Slot]:
    """The second half of a block: a slot for each channel mixer, whose choices differ."""
    return [_channel_mixer_slot(here, block, one) for one in here.channel_mixers.values()]


def _channel_mixer_slot(here: StagePlace, block: int, one: ChannelMixer) -> Slot:
    prefix = f"{here.name}.block{block}"
    depth, width, ratio = f"{here.name}.depth", f"{here.name}.width", f"{prefix}.ratio"
    pick = Pick(prefix, "channel_mixer", here.channel_mixers)
    maps = here.maps

    def layer(arch: Arch) -> Layer | None:
        if int(arch[depth]) <= block or pick.name(arch) != one.name:
            return None
        channels = int(arch[width])
        shape = (channels, *maps.at(arch))
        own = one.values_at(pick.own(arch), shape)
        branch, around = _branch(here, prefix, one, arch)
        sizes = {"channels": channels, "ratio": arch[ratio], "activation": here.activation}
        sizes |= {**one.fixed, **own, **around}
        return Layer.of(
            f"{here.name}_block{block}_{one.name}{branch.suffix}", one.name, branch, shape, shape, sizes
        )

    own = tuple(f"{prefix}.{one.name}.{choice.name}" for choice in one.choices)
    return Slot(
        name=f"{prefix}.{one.name}",
        choices=(*maps.choices, depth, width, ratio, *pick.which, *own, *_around(here, prefix)),
        layer=layer,
    )
