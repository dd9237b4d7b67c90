"""What an allocation is given: groups with scores, what networks cost, and what cutting does to them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import torch
from pydantic import AfterValidator
from torch import Tensor

from compress.pruning.allocation.layers import Layers, LayerTimes
from compress.pruning.criteria.effects import outputs_of
from compress.pruning.groups import ChannelGroup
from compress.pruning.importance import Material
from compress.pruning.masks import without
from results.registry import Registry

Counts = int | Sequence[int]
"""Channel counts that are allowed: multiples of this, or one of these."""

ALLOCATIONS = Registry[Callable[..., "list[int]"]]("allocation")
"""Allocations by name: functions of an ``Allocating`` to the channels that each group keeps.

Their settings are keyword-only. ``needs={"loss"}``, ``{"images"}`` and ``{"target"}`` say what has to be
there.
"""
TARGET = "target"


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocating:
    """Channels to be shared out.

    Attributes:
        material: Network, its groups, and what there is to look at.
        scores: Scores of each group's units, mean 1, float (units,) each.
        keep: Share to keep, in (0, 1): the whole may cost as much as if every group kept that share.
        allowed: Channel counts that each group may have, ascending; its own is the last.
        layers: Layers of the network, whose widths follow from what groups keep.
        times: Stopwatch for layers on the target; None where there is no target.
    """

    material: Material
    scores: tuple[Tensor, ...]
    keep: float
    allowed: tuple[tuple[int, ...], ...]
    layers: Layers
    times: LayerTimes | None = None

    @property
    def groups(self) -> list[ChannelGroup]:
        """The groups, in the order of the scores and of what is given back."""
        return [group for group, _ in self.material.groups]

    def nearest(self, index: int, share: float) -> int:
        """The allowed count of a group nearest to that share of it."""
        return nearest_count(self.allowed[index], share)

    def evenly(self, keep: float) -> list[int]:
        """What the groups keep where each keeps that share."""
        return [self.nearest(index, keep) for index in range(len(self.groups))]

    def cost(self, kept: Sequence[int]) -> float:
        """Time of all layers in milliseconds where the groups keep these channels; MACs without a target."""
        return self.layers.macs(kept) if self.times is None else self.times.total_ms(self.layers.at(kept))

    def dropped(self, index: int, count: int) -> list[int]:
        """Channels that a group loses where it keeps that many, those of the lowest scores."""
        group = self.groups[index]
        order = torch.argsort(self.scores[index], descending=True, stable=True)
        gone = order[count // (group.run * group.parts) :]
        return sorted(group.units[gone].flatten().tolist())

    def damage(self, kept: Sequence[int]) -> float:
        """What the network loses where the groups keep these channels: its loss, or the outputs' change.

        Raises:
            ValueError: there is neither a loss nor are there images.
        """
        material, whole = self.material, None
        if material.loss is None and material.images is None:
            raise ValueError("neither a loss nor images say what cutting does: pass one of them")
        with torch.no_grad(), ExitStack() as cuts:
            if material.loss is None:
                whole = outputs_of(material.network, material.given_images())
            for index, (_, parts) in enumerate(material.groups):
                if gone := self.dropped(index, kept[index]):
                    cuts.enter_context(without(parts, gone))
            if whole is None:
                return float(material.given_loss()(material.network))
            now = outputs_of(material.network, material.given_images())
            return float((now - whole).double().square().mean())


def allowed_counts(group: ChannelGroup, counts: Counts) -> tuple[int, ...]:
    """The counts that a group may have, ascending, its own last.

    Of a group in parts, such as queries, keys and values in one layer, the count of each part is an allowed
    one. The group's own count is always allowed.
    """
    each = group.channels // group.parts
    if isinstance(counts, int):
        step = math.lcm(counts, group.run)
        allowed = list(range(step, each, step))
    else:
        allowed = sorted({count for count in counts if 0 < count < each and count % group.run == 0})
    return (*(count * group.parts for count in allowed), group.channels)


def nearest_count(allowed: Sequence[int], share: float) -> int:
    """The allowed channel count nearest to that share of the last of them, the larger of two equally near."""
    target = share * allowed[-1]
    return min(allowed, key=lambda count: (abs(count - target), -count))


def _split(spec: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    if isinstance(spec, str):
        return spec, {}
    options = dict(spec)
    if not isinstance(name := options.pop("kind", None), str):
        raise ValueError(
            f"an allocation is its name, or a table with its name as kind and its settings: {spec}"
        )
    return name, options


def _checked(spec: str | dict[str, Any]) -> str | dict[str, Any]:
    name, options = _split(spec)
    ALLOCATIONS.configured(name, options)
    return spec


AllocationSpec = Annotated[str | dict[str, Any], AfterValidator(_checked)]
"""Name of an allocation, or ``{"kind": name, ...}`` with its settings, as a recipe writes it."""


def allocator(spec: str | Mapping[str, Any], seed: int = 0) -> Callable[[Allocating], list[int]]:
    """The allocation that is asked for; it refuses to work without what it needs.

    Args:
        spec: Name of one of ``ALLOCATIONS``; or a mapping of ``kind``, its name, and its settings.
        seed: Seed of one that draws and is given none.

    Raises:
        ValueError: there is none of that name, or it has no such settings.
    """
    name, options = _split(spec)
    entry = ALLOCATIONS[name]
    if "seed" in entry.settings:
        options = {"seed": seed, **options}
    return partial(_allocated, name, entry.configured(options), entry.needs)


def _allocated(
    name: str, part: Callable[[Allocating], list[int]], needs: frozenset[str], asked: Allocating
) -> list[int]:
    material = asked.material
    there = {"loss": material.loss, "images": material.images, TARGET: asked.times}
    if missing := sorted(need for need in needs if there.get(need) is None):
        raise ValueError(f"allocation {name!r} needs {' and '.join(missing)}, of which there is none")
    return part(asked) if material.groups else []
