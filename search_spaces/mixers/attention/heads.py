"""The heart of attention: weights out of queries and keys, and what they make of the values."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, fx, nn
from torch.nn import functional

from search_spaces.parts import ConvNorm

HEAD_CHANNELS = 16

HeadChannels = Annotated[int, Field(ge=1)]
"""Channels of a head."""

Logits = Literal["dot", "cosine"]
"""How alike a query and a key are: their product over sqrt(d), or the cosine times a learned scale a head."""

Weights = Literal["softmax", "relu"]
"""What makes weights of logits: a softmax, or a ReLU whose result is normalised over the channels of a
head."""


def heads_of(channels: int, head_channels: int, name: str) -> int:
    """The number of heads of a width.

    Raises:
        ValueError: the width is no multiple of the head's.
    """
    heads, rest = divmod(channels, head_channels)
    if rest:
        raise ValueError(f"{name} needs a width that is a multiple of {head_channels}, got {channels}")
    return heads


def by_head(x: Tensor, head_channels: int) -> Tensor:
    """(G, heads d, N) -> (G, heads, d, N): the projection says how many heads there are."""
    return x.reshape(x.shape[0], -1, head_channels, x.shape[2])


def masked(logits: Tensor, mask: Tensor | None) -> Tensor:
    """Logits (B groups, heads, N, M) plus the mask (groups, 1, 1 or N, M) of their group."""
    if mask is None:
        return logits
    return (logits.reshape(-1, mask.shape[0], *logits.shape[1:]) + mask).reshape(logits.shape)


fx.wrap("masked")  # whoever folds norms traces without sizes, and so without knowing whether there is one


class Attend(nn.Module):
    """Values weighed by how alike queries and keys are.

    Args:
        heads: number of heads; leading heads of more are those of fewer.
        head_channels: channels d of a head's values.
        logits: ``dot``, or ``cosine`` of Swin V2 (Liu et al., CVPR 2022, section 3.2), whose scale is at
            most 100.
        weights: ``softmax``, or ``relu``: "Interpret Vision Transformers as ConvNets with Dynamic
            Convolutions" (Zhou et al., 2023) puts ReLU and LayerNorm in its place. The LayerNorm is over a
            head's channels after the sum, where it doesn't depend on the size of the map, and it keeps the
            sum's size whatever the number of keys.
    """

    def __init__(
        self, heads: int, head_channels: int, *, logits: Logits = "dot", weights: Weights = "softmax"
    ) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((heads, 1, 1), math.log(10))) if logits == "cosine" else None
        self.norm = nn.LayerNorm(head_channels) if weights == "relu" else None

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """(G, heads, d, N) out of queries (G, heads, e, N), keys (G, heads, e, M), values (G, heads, d, M).

        Args:
            q: queries; G is the batch, or all groups of each of its images.
            k: keys.
            v: values.
            bias: added to the logits, (heads, N, M).
            mask: the same, (groups, 1, 1 or N, M), very negative for pairs that don't see each other.
        """
        if self.scale is None:
            logits = q.transpose(-2, -1) @ k * q.shape[-2] ** -0.5
        else:
            q, k = functional.normalize(q, dim=-2), functional.normalize(k, dim=-2)
            logits = q.transpose(-2, -1) @ k * self.scale.clamp(max=math.log(100)).exp()
        if bias is not None:
            logits = logits + bias
        logits = masked(logits, mask)
        weights = torch.softmax(logits, dim=-1) if self.norm is None else torch.relu(logits)
        mixed = v @ weights.transpose(-2, -1)
        if self.norm is None:
            return mixed
        normed: Tensor = self.norm(mixed.transpose(-2, -1)).transpose(-2, -1)
        return normed


class HeadsBetween(nn.Module):
    """Heads by which the positions of one map attend to those of another, projected.

    Args:
        channels: C, of both maps and of the result.
        heads: number of heads.
        head_channels: channels of a head.
    """

    def __init__(self, channels: int, heads: int, head_channels: int) -> None:
        super().__init__()
        inner = heads * head_channels
        self.head_channels = head_channels
        self.q = ConvNorm(channels, inner)
        self.k = ConvNorm(channels, inner)
        self.v = ConvNorm(channels, inner)
        self.attend = Attend(heads, head_channels)
        self.project = ConvNorm(inner, channels)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        """(B, C, H, W) of queries (B, C, H, W) and of keys and values made of (B, C, h, w)."""
        size = self.head_channels
        mixed: Tensor = self.project(over(self.q(x), self.k(source), self.v(source), self.attend, size, size))
        return mixed


def over(q: Tensor, k: Tensor, v: Tensor, attend: Attend, query_channels: int, head_channels: int) -> Tensor:
    """Heads of a map of queries (B, heads e, H, W) over one of keys and values, (B, heads d, H, W)."""
    parts = zip((q, k, v), (query_channels, query_channels, head_channels), strict=True)
    mixed = attend(*(by_head(part.flatten(2), size) for part, size in parts))
    return mixed.reshape(q.shape[0], -1, q.shape[2], q.shape[3])
