"""Structured pruning: whole channels go, and what is left is an ordinary, smaller network."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from compress.plain import plain_copy
from compress.pruning.channels import Cut, cut_channels, dependency_graph, group_of
from compress.pruning.groups import ChannelGroup, Refused, channel_groups, provable
from compress.pruning.importance import Importance, criterion

COUNTS = 16
"""The largest block of channels of ONNX Runtime's CPU kernels (AVX-512; 8 with AVX2 and Neon)."""

Loss = Callable[[nn.Module], Tensor]
"""Scalar loss of a network on some training data, through which gradients flow."""


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


def prune(
    network: nn.Module,
    example: Tensor,
    *,
    keep: float,
    counts: int | Sequence[int] = COUNTS,
    importance: str | Mapping[str, Any] | Importance = "l2",
    across_layers: bool = False,
    loss: Loss | None = None,
    ignore: Collection[str] = (),
    seed: int = 0,
) -> Pruned:
    """Cuts the least important channels of every group.

    Args:
        network: Any module; it is left untouched.
        example: An input, (B, ...).
        keep: Share of the channels to keep, in (0, 1).
        counts: Channel counts that are allowed: multiples of this, or one of these (a device's latency
            staircase says which counts cost no more than the next lower ones). The default keeps ONNX
            Runtime's blocked kernels in use on any CPU; off their block a pooling can take ten times
            as long.
        importance: Criterion by name, or as a mapping of ``kind`` (its name) and its settings, or a function
            of a group of your own.
        across_layers: Whether the channels of all groups are ranked together, so that some layers lose more
            than others; otherwise each keeps the same share.
        loss: Loss of a network. Criteria that read gradients need it; a function of your own finds gradients
            where it is given.
        ignore: Names of layers (or of modules that hold them) whose output channels stay.
        seed: Seed of the criteria that draw.

    Raises:
        ValueError: a share outside (0, 1), counts that are not positive, an unknown criterion, no loss
            where one is needed, or a network that cannot be traced.
    """
    if not 0 < keep < 1:
        raise ValueError(f"the share of channels to keep must be between 0 and 1, got {keep}")
    if min([counts] if isinstance(counts, int) else list(counts), default=0) < 1:
        raise ValueError(f"channel counts must be positive, got {counts}")
    groups, refused = channel_groups(network, example, ignore=ignore)
    groups, scores, unscored = _unit_scores(network, example, groups, importance, loss, seed)
    shares = _shares(groups, scores, keep) if across_layers else [keep] * len(groups)
    cuts = []
    for group, group_scores, share in zip(groups, scores, shares, strict=True):
        target = nearest_count(group, share, counts)
        if target < group.channels:
            cuts.append(_keep_best(group, group_scores, target))
    kept, wrong = provable(network, example, cuts)
    return Pruned(
        network=cut_channels(network, example, kept),
        cuts=kept,
        refused=(*refused, *unscored, *wrong),
    )


def nearest_count(group: ChannelGroup, share: float, counts: int | Sequence[int]) -> int:
    """The allowed channel count nearest to that share of the group, the larger of two equally near.

    Of a group in parts, such as queries, keys and values in one layer, the count of each part is an allowed
    one. The group's own count is always allowed, so a group with no smaller allowed count stays as it is.
    """
    each = group.channels // group.parts
    if isinstance(counts, int):
        step = math.lcm(counts, group.run)
        allowed = list(range(step, each, step))
    else:
        allowed = [count for count in counts if count < each and count % group.run == 0]
    allowed = [count * group.parts for count in allowed]
    target = share * group.channels
    return min([*allowed, group.channels], key=lambda count: (abs(count - target), -count))


def _unit_scores(
    network: nn.Module,
    example: Tensor,
    groups: Sequence[ChannelGroup],
    importance: str | Mapping[str, Any] | Importance,
    loss: Loss | None,
    seed: int,
) -> tuple[list[ChannelGroup], list[Tensor], list[Refused]]:
    """Groups with scores, one a unit, float (units,), with mean 1 over the group; and those that got none."""
    asked = criterion(importance, seed)
    scored = plain_copy(network)
    if asked.needs_gradients and loss is None:
        raise ValueError(f"importance {asked.name!r} reads gradients: pass a loss")
    if loss is not None and (asked.needs_gradients or callable(importance)):
        scored.zero_grad()
        loss(scored).backward()
    graph = dependency_graph(scored, example)
    modules = dict(scored.named_modules())
    scores, with_scores, without = [], [], []
    for group in groups:
        try:
            values = asked.score(group_of(graph, modules[group.root], range(group.channels)))
            values = values.detach().float().cpu()
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
        with_scores.append(group)
    if without and not with_scores:
        raise ValueError(f"{type(network).__name__} cannot be pruned: {without[0].reason}")
    return with_scores, scores, without


def _shares(groups: Sequence[ChannelGroup], scores: Sequence[Tensor], keep: float) -> list[float]:
    """Share of each group that is above the score that the wanted share of all channels is above."""
    if not groups:
        return []
    each = torch.cat(
        [
            score.repeat_interleave(group.run * group.parts)
            for group, score in zip(groups, scores, strict=True)
        ]
    )
    threshold = torch.quantile(each, 1 - keep)
    return [float((score >= threshold).float().mean()) for score in scores]


def _keep_best(group: ChannelGroup, scores: Tensor, target: int) -> Cut:
    size = group.run * group.parts
    best = torch.argsort(scores, descending=True, stable=True)[: target // size]
    kept = tuple(sorted(group.units[best].flatten().tolist()))
    return Cut(root=group.root, channels=group.channels, kept=kept)
