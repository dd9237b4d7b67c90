"""Criteria that look at weights alone."""

from __future__ import annotations

import re
from typing import Annotated, Any

import torch
import torch_pruning as tp
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from compress.pruning.importance import CRITERIA, Material
from compress.pruning.members import makers, members


@CRITERIA.register("magnitude")
def magnitude(group: Any, *, p: Annotated[float, Field(gt=0)] = 2.0) -> Tensor:
    """Norm of every weight that goes with the channel, averaged over the layers it runs through.

    "DepGraph: Towards Any Structural Pruning" (Fang et al., CVPR 2023), section 3.3.

    Args:
        group: The channels.
        p: Order of the norm.
    """
    scores: Tensor = tp.importance.GroupMagnitudeImportance(p=p)(group)
    return scores


@CRITERIA.register("l2")
def l2(group: Any) -> Tensor:
    """``magnitude`` with the Euclidean norm."""
    return magnitude(group, p=2)


@CRITERIA.register("l1")
def l1(group: Any) -> Tensor:
    """``magnitude`` with the sum of absolute values."""
    return magnitude(group, p=1)


@CRITERIA.register("lamp")
def lamp(group: Any, *, p: Annotated[float, Field(gt=0)] = 2.0) -> Tensor:
    """Norm over that of all channels at least as large, made to be compared between layers.

    "Layer-adaptive Sparsity for the Magnitude-based Pruning" (Lee et al., ICLR 2021), with whole channels in
    the place of single weights.

    Args:
        group: The channels.
        p: Order of the norm.
    """
    scores: Tensor = tp.importance.LAMPImportance(p=p)(group)
    return scores


@CRITERIA.register("fpgm")
def fpgm(group: Any) -> Tensor:
    """Sum of the distances of a channel's weights to those of all others: what others can stand for goes.

    "Filter Pruning via Geometric Median for Deep Convolutional Neural Networks Acceleration" (He et al.,
    CVPR 2019), equation 7, averaged over the layers that make the channels.
    """
    channels, found = len(group[0].idxs), []
    for member in makers(group):
        rows = member.slices(member.weight.detach())  # (places, entries)
        distances = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist").sum(1)
        found.append(member.summed(distances, channels))
    if not found:
        raise ValueError("no layer with weights makes them")
    return torch.stack(found).mean(0)


@CRITERIA.register("random")
class Random:
    """Random scores, the control: any other criterion has to beat it.

    Args:
        seed: Seed of the draws; the one of the run where none is given.
    """

    def __init__(self, *, seed: Annotated[int, Field(ge=0)] = 0) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, group: Any) -> Tensor:
        """Uniform scores in [0, 1), float (channels,)."""
        return torch.rand(len(group[0].idxs), generator=self._generator)


MODULES = {
    "queries": r"(^|[._])(qkv|to_qkv|q|k|v|kv|query|key|value|q_proj|k_proj|v_proj|in_proj)([._]|$)",
    "projection": r"(attn|attention|mixer|inner).*(proj|project|out|o)([._]|$)",
    "mlp": r"(^|[._])(mlp|ffn|feed_forward|fc\d?|expand|intermediate)([._]|$)",
}
"""Kinds of layers and the names they go by, the first that fits counts; all else is ``other``."""


@CRITERIA.register("dimap")
class Dimap:
    """Share of a weight's energy in all of its kind in the network that are at least as large.

    "Data-independent Module-Aware Pruning for Hierarchical Vision Transformers" (He and Zhou, ICLR 2024): the
    form of ``lamp``, over all layers of one kind (queries, projections, MLPs, the rest) and not in each
    layer, so that stages compare fairly. The paper scores single weights; a channel has the mean of its own.

    Args:
        kinds: Regular expressions of layers' names by kind, tried in order; left out, those of common
            transformers. Depthwise convolutions are a kind of their own.
    """

    def __init__(self, *, kinds: dict[str, str] | None = None) -> None:
        for name, pattern in (kinds or {}).items():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"kinds.{name} is no regular expression: {error}") from None
        self._kinds = MODULES if kinds is None else kinds
        self._scores: dict[nn.Module, Tensor] = {}

    def look(self, material: Material) -> None:
        """Scores every weight among those of its kind."""
        by_kind: dict[str, list[nn.Module]] = {}
        for name, module in material.network.named_modules():
            if isinstance(module, _ConvNd | nn.Linear):
                by_kind.setdefault(self.kind(name, module), []).append(module)
        self._scores = {}
        for modules in by_kind.values():
            weights = [module.weight.detach().double() for module in modules]  # type: ignore[operator]
            scores = distortion(torch.cat([weight.flatten() for weight in weights]).square())
            parts = scores.split([weight.numel() for weight in weights])
            for module, weight, part in zip(modules, weights, parts, strict=True):
                self._scores[module] = part.reshape(weight.shape)

    def kind(self, name: str, module: nn.Module) -> str:
        """The kind of a layer."""
        if isinstance(module, _ConvNd) and module.groups > 1:
            return "depthwise"
        return next((kind for kind, one in self._kinds.items() if re.search(one, name)), "other")

    def __call__(self, group: Any) -> Tensor:
        """Mean score of a channel's weights over the layers it runs through, (channels,)."""
        channels, found = len(group[0].idxs), []
        for member in members(group):
            if member.module in self._scores:
                means = member.slices(self._scores[member.module]).mean(1)  # (places,)
                count = member.summed(torch.ones_like(means), channels).clamp_min(1)
                found.append(member.summed(means, channels) / count)
        if not found:
            raise ValueError("they run through no layer with weights")
        return torch.stack(found).mean(0)


def distortion(squares: Tensor) -> Tensor:
    """Each square over the sum of itself and all that come before it in descending order, (weights,)."""
    order = squares.argsort(descending=True, stable=True)
    ordered = squares[order]
    scores = torch.empty_like(squares)
    scores[order] = ordered / ordered.cumsum(0).clamp_min(torch.finfo(squares.dtype).tiny)
    return scores
