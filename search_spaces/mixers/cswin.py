"""Self-attention inside stripes: rows of the map for half of the heads, columns for the other half.

"CSWin Transformer: A General Vision Transformer Backbone with Cross-Shaped Windows" (Dong et al., CVPR 2022),
section 3.2. Left out is its locally enhanced positional encoding (section 3.3); queries, keys and values are
normalised convolutions as in our plain attention. The paper joins all heads and projects them once; here rows
and columns have a projection each, whose sum is the same map but for the norms. So each half is an attention
of its own: its heads can be pruned whole, and the leading heads of a wider network are those of a narrower.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, fx, nn

from search_spaces.choice import Choice, Value
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import ConvNorm

Positive = Annotated[int, Field(ge=1)]


class CrossStripe(nn.Module):
    """Attention in stripes of rows plus attention in stripes of columns, (B, C, H, W) -> (B, C, H, W).

    Args:
        channels: C, a multiple of ``head_channels``.
        stripe: rows, or columns, of a stripe. Where a map's side is no multiple of it, or is smaller, the
            largest divisor of the side below it takes its place.
        head_channels: channels of a head. Heads alternate: with an odd number of them, rows have one more.

    Raises:
        ValueError: a width that is no multiple of the head's.
    """

    def __init__(self, channels: int, *, stripe: Positive, head_channels: Positive = 16) -> None:
        super().__init__()
        heads, rest = divmod(channels, head_channels)
        if rest:
            raise ValueError(f"cswin needs a width that is a multiple of {head_channels}, got {channels}")
        self.rows = Stripes(channels, (heads + 1) // 2, head_channels, stripe)
        self.columns = Stripes(channels, heads // 2, head_channels, stripe) if heads > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.rows(x)
        if self.columns is None:
            return mixed
        return mixed + self.columns(x.transpose(2, 3)).transpose(2, 3)


class Stripes(nn.Module):
    """softmax(q k^T / sqrt(d)) v inside stripes of whole rows, projected; (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels: int, heads: int, head_channels: int, stripe: int) -> None:
        super().__init__()
        self.head_channels, self.stripe = head_channels, stripe
        inner = heads * head_channels
        self.q = ConvNorm(channels, inner)
        self.k = ConvNorm(channels, inner)
        self.v = ConvNorm(channels, inner)
        self.project = ConvNorm(inner, channels)

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        stripes = height // fitting(height, self.stripe)
        positions = height // stripes * width  # N, of a stripe
        split, heads = (batch, -1, stripes, positions), (batch * stripes, -1, self.head_channels, positions)
        # A stripe is whole rows, so cutting the map is a reshape. The projections say how many heads there
        # are: pruning takes whole heads, x stays as wide. q, k, v: (B stripes, heads, d, N).
        q, k, v = (part(x).reshape(split).transpose(1, 2).reshape(heads) for part in (self.q, self.k, self.v))
        weights = torch.softmax(q.transpose(-2, -1) @ k * self.head_channels**-0.5, dim=-1)
        mixed = v @ weights.transpose(-2, -1)
        mixed = mixed.reshape(batch, stripes, -1, positions).transpose(1, 2)  # (B, heads d, stripes, N)
        return self.project(mixed.reshape(batch, -1, height, width))


def fitting(side: int, stripe: int) -> int:
    """The largest divisor of a map's side that is no wider than the stripe."""
    return next(rows for rows in range(min(stripe, side), 0, -1) if side % rows == 0)


fx.wrap("fitting")  # whoever folds norms traces without sizes, and loops over none


def acting(values: Mapping[str, Value], shape: tuple[int, ...]) -> Mapping[str, Value]:
    """The narrowest stripe that cuts a map of that shape (C, H, W) as the given one does."""
    _, height, width = shape
    stripe = int(values["stripe"])
    return {**values, "stripe": max(fitting(height, stripe), fitting(width, stripe))}


register_mixer(
    Mixer(
        name="cswin",
        make=CrossStripe,
        choices=(Choice("stripe", (1, 2, 4), role="kernel"),),
        channel_multiple="head_channels",
        acting=acting,
    )
)
