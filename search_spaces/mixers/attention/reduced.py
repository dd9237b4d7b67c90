"""Attention over the whole map to keys and values of a smaller one: pooled, or made by strided
convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field
from torch import Tensor, fx, nn
from torch.nn import functional

from search_spaces.choice import Choice, Value
from search_spaces.mixers.attention.heads import (
    HEAD_CHANNELS,
    Attend,
    HeadChannels,
    Logits,
    Weights,
    heads_of,
    over,
)
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import ConvNorm, OddSize

Times = Annotated[int, Field(ge=1)]
"""How many times smaller, along a side."""

Share = Annotated[int | float, Field(gt=0, le=1)]
"""Part of a whole."""

REDUCTION = Choice("reduction", (1, 2, 4), role="category")
"""How many times smaller the map of keys is along a side; the larger, the cheaper, so no size."""


class PooledKeys(nn.Module):
    """Attention to the averages of squares, (B, C, H, W) -> (B, C, H, W); Next-ViT's, with the whole map
    UniFormer's.

    "Next-ViT: Next Generation Vision Transformer for Efficient Deployment in Realistic Industrial Scenarios"
    (Li et al., 2022), section 3.3, E-MHSA. Its code averages runs of the flattened map and normalises them;
    here they are squares, at the edge of what is left of them, and the projections' norms are the only ones.
    With ``encode`` it begins with the dynamic position embedding of UniFormer (Li et al., ICLR 2022, section
    3.4): the map plus a depthwise convolution of it; and without reduction it is that paper's global
    relation.

    Args:
        channels: C, a multiple of ``head_channels``.
        reduction: side of a square in positions.
        head_channels: channels of a head.
        logits: likeness of a query and a key: ``dot``, or ``cosine`` times a learned scale (Swin V2).
        weights: ``softmax`` of the logits, or their ``relu`` with a norm after the sum.
        encode: whether a depthwise 3x3 convolution is added to the input first, and to the output.

    Raises:
        ValueError: a width that is no multiple of the head's.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: Times,
        head_channels: HeadChannels = HEAD_CHANNELS,
        logits: Logits = "dot",
        weights: Weights = "softmax",
        encode: bool = False,
    ) -> None:
        super().__init__()
        heads = heads_of(channels, head_channels, "pooled_attention")
        self.head_channels = head_channels
        self.encode = ConvNorm(channels, channels, 3, groups=channels) if encode else None
        square = nn.AvgPool2d(reduction, ceil_mode=True, count_include_pad=False)
        self.pool = square if reduction > 1 else nn.Identity()
        self.q = ConvNorm(channels, channels)
        self.k = ConvNorm(channels, channels)
        self.v = ConvNorm(channels, channels)
        self.attend = Attend(heads, head_channels, logits=logits, weights=weights)
        self.project = ConvNorm(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        if self.encode is None:
            return self._attended(x)
        encoding = self.encode(x)
        # With the block's shortcut these are two residual parts.
        mixed: Tensor = encoding + self._attended(x + encoding)
        return mixed

    def _attended(self, x: Tensor) -> Tensor:
        fewer = self.pool(x)
        size = self.head_channels
        mixed: Tensor = self.project(over(self.q(x), self.k(fewer), self.v(fewer), self.attend, size, size))
        return mixed


class ConvProjected(nn.Module):
    """Attention whose projections begin with depthwise convolutions, (B, C, H, W) -> (B, C, H, W); CvT's.

    "CvT: Introducing Convolutions to Vision Transformers" (Wu et al., ICCV 2021), section 3.2: a depthwise
    convolution and its norm, then a 1x1 convolution; those of keys and values are strided.

    Args:
        channels: C, a multiple of ``head_channels``.
        key_stride: stride of the convolutions of keys and values.
        kernel: side of the depthwise kernels in pixels, odd.
        head_channels: channels of a head.

    Raises:
        ValueError: a width that is no multiple of the head's.
    """

    def __init__(
        self,
        channels: int,
        *,
        key_stride: Times,
        kernel: OddSize = 3,
        head_channels: HeadChannels = HEAD_CHANNELS,
    ) -> None:
        super().__init__()
        heads = heads_of(channels, head_channels, "conv_attention")
        self.head_channels = head_channels

        def projection(stride: int) -> nn.Sequential:
            spatial = ConvNorm(channels, channels, kernel, stride=stride, groups=channels)
            return nn.Sequential(spatial, ConvNorm(channels, channels))

        self.q, self.k, self.v = projection(1), projection(key_stride), projection(key_stride)
        self.attend = Attend(heads, head_channels)
        self.project = ConvNorm(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        size = self.head_channels
        mixed: Tensor = self.project(over(self.q(x), self.k(x), self.v(x), self.attend, size, size))
        return mixed


class StripAttention(nn.Module):
    """Attention to a smaller map with short queries and keys, (B, C, H, W) -> (B, C, H, W); S2AFormer's.

    "S2AFormer: Strip Self-Attention for Efficient Vision Transformer" (2025): the map of keys and values is
    made smaller by a depthwise convolution whose stride is its kernel, and queries and keys are given fewer
    channels than values. Left out is the convolution beside it in the paper's block.

    Args:
        channels: C, a multiple of ``head_channels``.
        reduction: stride and kernel of the convolution; each has one of its own. At the edge, zeros fill it
            up.
        query_share: channels of a head's queries and keys over those of its values; each has projections of
            its own, as other channels would be other heads.
        head_channels: channels of a head's values.

    Raises:
        ValueError: a width that is no multiple of the head's.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: Times,
        query_share: Share,
        head_channels: HeadChannels = HEAD_CHANNELS,
    ) -> None:
        super().__init__()
        heads = heads_of(channels, head_channels, "strip_attention")
        self.reduction, self.head_channels = reduction, head_channels
        self.short = max(1, round(head_channels * query_share))
        self.reduce = nn.ModuleDict()
        if reduction > 1:
            self.reduce[f"by_{reduction}"] = StridedNorm(channels, reduction)
        # The names say the size of a head, as weights of heads of another size mean other things.
        short = {name: ConvNorm(channels, heads * self.short) for name in ("q", "k")}
        self.short_heads = nn.ModuleDict({f"{name}_{self.short}": one for name, one in short.items()})
        self.v = ConvNorm(channels, channels)
        self.attend = Attend(heads, head_channels)
        self.project = ConvNorm(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        fewer = x
        for one in self.reduce.values():
            fewer = one(x)
        to_query, to_key = self.short_heads.values()
        q, k, v = to_query(x), to_key(fewer), self.v(fewer)
        mixed: Tensor = self.project(over(q, k, v, self.attend, self.short, self.head_channels))
        return mixed


class StridedNorm(nn.Sequential):
    """A depthwise convolution whose stride is its kernel, and its norm; zeros fill up the last one."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, stride, stride, groups=channels, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.norm(self.conv(filled_up(x, self.stride)))
        return found


def filled_up(x: Tensor, stride: int) -> Tensor:
    """A map with zeros below and to the right, so that its sides are multiples of the stride."""
    down, right = (-int(side) % stride for side in x.shape[2:])
    return functional.pad(x, (0, right, 0, down)) if down or right else x


fx.wrap("filled_up")  # whoever folds norms traces without sizes


def acting(values: Mapping[str, Value], shape: tuple[int, ...]) -> Mapping[str, Value]:
    """Squares as large as a map of that shape (C, H, W) average the same as larger ones."""
    return {**values, "reduction": min(int(values["reduction"]), max(shape[1:]))}


register_mixer(
    Mixer(
        name="pooled_attention",
        make=PooledKeys,
        choices=(REDUCTION,),
        channel_multiple="head_channels",
        acting=acting,
    )
)
register_mixer(
    Mixer(
        name="conv_attention",
        make=ConvProjected,
        choices=(Choice("key_stride", (1, 2), role="category"),),
        channel_multiple="head_channels",
    )
)
register_mixer(
    Mixer(
        name="strip_attention",
        make=StripAttention,
        choices=(REDUCTION, Choice("query_share", (0.25, 0.5, 1))),
        channel_multiple="head_channels",
    )
)
