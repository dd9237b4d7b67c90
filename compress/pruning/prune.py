"""Structured pruning: whole channels go, and what is left is an ordinary, smaller network."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from compress.plain import plain_copy
from compress.pruning.allocation import Allocating, allocator
from compress.pruning.allocation.allocating import Counts, allowed_counts
from compress.pruning.allocation.layers import Layers, LayerTimes
from compress.pruning.channels import Cut, cut_channels, dependency_graph, group_of
from compress.pruning.groups import ChannelGroup, Refused, channel_groups, provable
from compress.pruning.importance import GRADIENTS, Criterion, Importance, Loss, Material, criterion
from compress.pruning.staircase import stairs_of

COUNTS = 16
"""The largest block of channels of ONNX Runtime's CPU kernels (AVX-512; 8 with AVX2 and Neon)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """A pruned network and how to make it again.

    Attributes:
        network: the smaller network, a plain module; not fine-tuned.
        cuts: what was kept; ``cut_channels(original, example, cuts)`` gives the same shapes.
        refused: groups that were left alone, with reasons.
    """

    network: nn.Module
    cuts: tuple[Cut, ...]
    refused: tuple[Refused, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A network whose channels are grouped and scored, to be cut by any share.

    Attributes:
        network: Network, untouched.
        example: An input, (B, ...).
        sharing: Groups, scores and allowed counts.
        share_out: Allocation.
        refused: Groups that are left alone, with reasons.
    """

    network: nn.Module
    example: Tensor
    sharing: Allocating
    share_out: Callable[[Allocating], list[int]]
    refused: tuple[Refused, ...]

    def cuts(self, keep: float) -> tuple[Cut, ...]:
        """Cuts for a share to keep, in (0, 1).

        Raises:
            ValueError: another share, or the allocation needs what is not there.
        """
        if not 0 < keep < 1:
            raise ValueError(f"the share of channels to keep must be between 0 and 1, got {keep}")
        asked = replace(self.sharing, keep=keep)
        found = []
        for index, (group, count) in enumerate(zip(asked.groups, self.share_out(asked), strict=True)):
            if count < group.channels:
                gone = set(asked.dropped(index, count))
                kept = tuple(channel for channel in range(group.channels) if channel not in gone)
                found.append(Cut(root=group.root, channels=group.channels, kept=kept))
        return tuple(found)

    def pruned(self, cuts: Sequence[Cut]) -> Pruned:
        """The network with those of the cuts that leave what masking leaves.

        Raises:
            ValueError: each is right alone and all together are not.
        """
        kept, wrong = provable(self.network, self.example, cuts)
        return Pruned(
            network=cut_channels(self.network, self.example, kept),
            cuts=kept,
            refused=(*self.refused, *wrong),
        )


def prune(
    network: nn.Module,
    example: Tensor,
    *,
    keep: float,
    counts: Counts | Literal["stairs"] = COUNTS,
    importance: str | Mapping[str, Any] | Importance = "l2",
    allocation: str | Mapping[str, Any] = "uniform",
    loss: Loss | None = None,
    images: Tensor | None = None,
    times: LayerTimes | None = None,
    ignore: Collection[str] = (),
    seed: int = 0,
) -> Pruned:
    """Cuts the least important channels of every group; arguments as of ``prepare``.

    Args:
        keep: Share of the channels to keep, in (0, 1).

    Raises:
        ValueError: as ``prepare``, or a share outside (0, 1).
    """
    if not 0 < keep < 1:
        raise ValueError(f"the share of channels to keep must be between 0 and 1, got {keep}")
    prepared = prepare(
        network,
        example,
        counts=counts,
        importance=importance,
        allocation=allocation,
        loss=loss,
        images=images,
        times=times,
        ignore=ignore,
        seed=seed,
    )
    return prepared.pruned(prepared.cuts(keep))


def prepare(
    network: nn.Module,
    example: Tensor,
    *,
    counts: Counts | Literal["stairs"] = COUNTS,
    importance: str | Mapping[str, Any] | Importance = "l2",
    allocation: str | Mapping[str, Any] = "uniform",
    loss: Loss | None = None,
    images: Tensor | None = None,
    times: LayerTimes | None = None,
    ignore: Collection[str] = (),
    seed: int = 0,
) -> Prepared:
    """Finds the groups of channels that can be cut, and scores them.

    Args:
        network: Any module; it is left untouched.
        example: An input, (B, ...).
        counts: Channel counts that are allowed: multiples of this, one of these, or ``stairs`` for those that
            end a stair of the latency of the layer that makes the channels, as measured on the target. The
            default keeps ONNX Runtime's blocked kernels in use on any CPU; off their block a pooling can take
            ten times as long.
        importance: Criterion by name, or as a mapping of ``kind`` (its name) and its settings, or a function
            of a group of your own.
        allocation: Allocation by name, or as a mapping of ``kind`` and its settings: how much each group
            loses, where all of them together may cost as much as if each kept the share asked for.
        loss: Loss of a network. Criteria that read gradients need it; a function of your own finds gradients
            where it is given.
        images: Some inputs of the network, (N, ...), for criteria and allocations that look at what it
            computes.
        times: Stopwatch for layers on a target, for stairs and for allocations by measured latency.
        ignore: Names of layers (or of modules that hold them) whose output channels stay.
        seed: Seed of the criteria and allocations that draw.

    Raises:
        ValueError: counts that are not positive, an unknown criterion or allocation, no loss, images or
            target where one is needed, or a network that cannot be traced.
    """
    if counts == "stairs":
        if times is None:
            raise ValueError("counts 'stairs' are measured on a target, and there is none")
    elif isinstance(counts, str) or min([counts] if isinstance(counts, int) else list(counts), default=0) < 1:
        raise ValueError(f"channel counts must be positive, got {counts}")
    asked, share_out = criterion(importance, seed), allocator(allocation, seed)
    groups, refused = channel_groups(network, example, ignore=ignore)
    material, scores, unscored = _scored(network, example, groups, asked, loss, images, seed)
    layers = Layers(material.network, example, [(group.channels, parts) for group, parts in material.groups])
    return Prepared(
        network=network,
        example=example,
        sharing=Allocating(
            material=material,
            scores=scores,
            keep=1.0,
            allowed=tuple(_allowed(material, layers, counts, times)),
            layers=layers,
            times=times,
        ),
        share_out=share_out,
        refused=(*refused, *unscored),
    )


def _allowed(
    material: Material, layers: Layers, counts: Counts | Literal["stairs"], times: LayerTimes | None
) -> Iterator[tuple[int, ...]]:
    """The channel counts that each group may have."""
    whole = {layer.module: layer for layer in layers.at([group.channels for group, _ in material.groups])}
    for group, parts in material.groups:
        if isinstance(counts, str):
            root = whole.get(parts[0].dep.target.module)
            assert times is not None
            stairs = (group.channels,) if root is None else stairs_of(root, times)
            yield allowed_counts(group, [count // group.parts for count in stairs])
        else:
            yield allowed_counts(group, counts)


def _scored(
    network: nn.Module,
    example: Tensor,
    groups: Sequence[ChannelGroup],
    asked: Criterion,
    loss: Loss | None,
    images: Tensor | None,
    seed: int,
) -> tuple[Material, tuple[Tensor, ...], list[Refused]]:
    """The groups that got scores, with one a unit, (units,), of mean 1 in each; and those that got none."""
    asked.refuse_without(loss, images)
    scored = plain_copy(network).cpu().eval()
    parameters = list(scored.parameters())
    if not any(one.requires_grad for one in parameters):  # only run: nothing is frozen in particular
        for one in parameters:
            one.requires_grad_(one.is_floating_point())
    if loss is not None and (GRADIENTS in asked.needs or asked.of_ones_own):
        scored.zero_grad()
        loss(scored).backward()
    graph = dependency_graph(scored, example)
    modules = dict(scored.named_modules())
    material = Material(
        network=scored,
        groups=tuple(
            (group, group_of(graph, modules[group.root], range(group.channels))) for group in groups
        ),
        loss=loss,
        images=None if images is None else images.cpu(),
        seed=seed,
    )
    asked.look(material)
    scores, with_scores, without = [], [], []
    for group, parts in material.groups:
        try:
            values = asked.score(parts).detach().float().cpu()
        except Exception as error:  # a criterion that a layer of the group does not suit raises what it likes
            reason = f"importance {asked.name!r} cannot rank them ({type(error).__name__}: {error})"
            without.append(Refused(root=group.root, channels=group.channels, reason=reason))
            continue
        if values.shape != (group.channels,) or not torch.isfinite(values).all():
            raise ValueError(
                f"importance {asked.name!r} gave {tuple(values.shape)} scores for the {group.channels} "
                f"channels of {group.root}, or some that are not finite"
            )
        by_unit = values[group.units].mean(dim=1)  # (units,)
        scores.append(by_unit / by_unit.mean().clamp_min(1e-12))
        with_scores.append((group, parts))
    if without and not with_scores:
        raise ValueError(f"{type(network).__name__} cannot be pruned: {without[0].reason}")
    scored.zero_grad()
    return replace(material, groups=tuple(with_scores)), tuple(scores), without
