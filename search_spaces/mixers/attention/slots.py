"""Attention among a few tokens that stand for the map: gathered from it, mixed, and dealt back to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, fx, nn
from torch.nn import functional

from search_spaces.choice import Choice, Value
from search_spaces.mixers.attention.heads import HEAD_CHANNELS, HeadChannels, HeadsBetween, heads_of
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import ACTIVATIONS, KERNEL, ConvNorm, OddSize

Tokens = Annotated[int, Field(ge=1)]
"""Number of tokens, or of those along a side."""


class GLMix(nn.Module):
    """Attention among slots that gather alike positions, beside a convolution; (B, C, H, W) -> (B, C, H, W).

    "Revisiting the Integration of Convolution and Attention for Vision Backbone" (Zhu et al., NeurIPS 2024),
    section 3: slots begin as averages of the map; the cosine of slots and positions, times a learned scale,
    says by a softmax over positions what a slot gathers, and by one over slots what a position is given back.
    The scale begins as that of 100 channels, whatever the width; the norm before is left out.

    Args:
        channels: C, a multiple of ``head_channels``.
        side: slots along each side of their grid; at most the positions of the map along it.
        kernel: side of the depthwise kernel in pixels, odd, between two 1x1 convolutions.
        head_channels: channels of a head.

    Raises:
        ValueError: a width that is no multiple of the head's.
    """

    def __init__(
        self, channels: int, *, side: Tokens, kernel: OddSize, head_channels: HeadChannels = HEAD_CHANNELS
    ) -> None:
        super().__init__()
        self.side = side
        self.scale = nn.Parameter(torch.tensor([0.1]))
        self.mix = HeadsBetween(channels, heads_of(channels, head_channels, "glmix"), head_channels)
        spatial = ConvNorm(channels, channels, kernel, groups=channels)
        self.local = nn.Sequential(ConvNorm(channels, channels), spatial, ConvNorm(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        flat, first = x.flatten(2), averages(x, self.side).flatten(2)  # (B, C, N), (B, C, S)
        alike = functional.normalize(first, dim=1).transpose(1, 2) @ functional.normalize(flat, dim=1)
        alike = self.scale * alike  # (B, S, N)
        slots = (flat @ torch.softmax(alike, dim=2).transpose(1, 2)).unsqueeze(3)  # (B, C, S, 1)
        slots = self.mix(slots, slots).flatten(2)
        dealt = slots @ torch.softmax(alike, dim=1)  # (B, C, N)
        mixed: Tensor = dealt.reshape(x.shape) + self.local(x)
        return mixed


class SemanticTokens(nn.Module):
    """Tokens that attend to the map and to each other, to which the map then attends; keeps (B, C, H, W).

    "Making Vision Transformers Efficient from A Token Sparsification View" (Chang et al., CVPR 2023), STViT:
    tokens begin as averages, attend to themselves and all positions, then to each other, both beside a
    shortcut; at the end the map attends to them, its recovery module. In the paper several blocks lie between
    these, which see the tokens alone; here it is one mixer, so that every block may choose it. The MLPs
    between are left out.

    Args:
        channels: C, a multiple of ``head_channels``.
        token_side: tokens along each side of their grid; at most the positions of the map along it.
        head_channels: channels of a head.

    Raises:
        ValueError: a width that is no multiple of the head's.
    """

    def __init__(
        self, channels: int, *, token_side: Tokens, head_channels: HeadChannels = HEAD_CHANNELS
    ) -> None:
        super().__init__()
        heads = heads_of(channels, head_channels, "semantic_tokens")
        self.token_side = token_side
        self.gather = HeadsBetween(channels, heads, head_channels)
        self.refine = HeadsBetween(channels, heads, head_channels)
        self.recover = HeadsBetween(channels, heads, head_channels)

    def forward(self, x: Tensor) -> Tensor:
        tokens = averages(x, self.token_side)  # (B, C, side, side)
        tokens = tokens.reshape(x.shape[0], x.shape[1], -1, 1)
        everything = torch.cat([tokens, x.reshape(x.shape[0], x.shape[1], -1, 1)], dim=2)
        tokens = tokens + self.gather(tokens, everything)
        tokens = tokens + self.refine(tokens, tokens)
        recovered: Tensor = self.recover(x, tokens)
        return recovered


class SlimmedTokens(nn.Module):
    """Attention among weighted means of all positions, dealt back by the same weights; keeps (B, C, H, W).

    "Self-slimmed Vision Transformer" (Zong et al., ECCV 2022), section 3.2, the token slimming module: a
    small network of each position says how much it is of each token, and a softmax over positions makes means
    of it. In the paper all later blocks see the tokens alone. Here they are dealt back, by a softmax over
    tokens in place of its reverse module, which is of one size of map; so every block may choose it.

    Args:
        channels: C, a multiple of ``head_channels``.
        activation: name of the activation of the small network.
        kept: number of tokens; each has a small network of its own, as its shares are among its tokens.
        head_channels: channels of a head.

    Raises:
        ValueError: a width that is no multiple of the head's.
    """

    def __init__(
        self,
        channels: int,
        *,
        activation: str,
        kept: Tokens,
        head_channels: HeadChannels = HEAD_CHANNELS,
    ) -> None:
        super().__init__()
        self.expand = ConvNorm(channels, channels // 2)
        self.act = ACTIVATIONS[activation]()
        self.score = nn.ModuleDict({f"to_{kept}": ConvNorm(channels // 2, kept)})
        self.mix = HeadsBetween(channels, heads_of(channels, head_channels, "slimmed_tokens"), head_channels)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.act(self.expand(x))
        (score,) = self.score.values()
        shares = score(hidden).flatten(2)  # (B, S, N)
        tokens = (x.flatten(2) @ torch.softmax(shares, dim=2).transpose(1, 2)).unsqueeze(3)  # (B, C, S, 1)
        tokens = self.mix(tokens, tokens).flatten(2)
        return (tokens @ torch.softmax(shares, dim=1)).reshape(x.shape)


def averages(x: Tensor, side: int) -> Tensor:
    """Averages of side x side regions of a map, (B, C, H, W) -> (B, C, side or H, side or W), as two
    products.

    The regions are those of adaptive pooling, which no exporter knows where the map's side is no multiple.
    """
    sizes = int(x.shape[2]), int(x.shape[3])
    rows, columns = (torch.from_numpy(_averaging(size, min(side, size))).to(x) for size in sizes)
    # The map stands first in both: counters of multiply-accumulates go by the first of a product.
    return ((x @ columns.T).transpose(2, 3) @ rows.T).transpose(2, 3)


fx.wrap("averages")  # whoever folds norms traces without sizes


def _averaging(size: int, regions: int) -> NDArray[np.float64]:
    """(regions, size): row i averages from floor(i size / regions) up to ceil((i + 1) size / regions)."""
    at, index = np.arange(size), np.arange(regions)[:, None]
    inside = (at >= index * size // regions) & (at < -(-(index + 1) * size // regions))
    return inside / inside.sum(axis=1, keepdims=True)


def acting_side(values: Mapping[str, Value], shape: tuple[int, ...]) -> Mapping[str, Value]:
    """Slots along a side, at most as many as a map of that shape (C, H, W) has positions."""
    name = "side" if "side" in values else "token_side"
    return {**values, name: min(int(values[name]), max(shape[1:]))}


register_mixer(
    Mixer(
        name="glmix",
        make=GLMix,
        choices=(Choice("side", (4, 6, 8)), KERNEL),
        channel_multiple="head_channels",
        acting=acting_side,
    )
)
register_mixer(
    Mixer(
        name="semantic_tokens",
        make=SemanticTokens,
        choices=(Choice("token_side", (3, 4, 5)),),
        channel_multiple="head_channels",
        acting=acting_side,
    )
)
register_mixer(
    Mixer(
        name="slimmed_tokens",
        make=SlimmedTokens,
        choices=(Choice("kept", (4, 16, 36)),),
        channel_multiple="head_channels",
    )
)
