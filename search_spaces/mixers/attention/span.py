"""Some heads that attend to all positions, and some that are convolutions with kernels made at each
position."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_spaces.mixers.attention.heads import HEAD_CHANNELS, HeadChannels, HeadsBetween, heads_of
from search_spaces.mixers.attention.inception import ATTENDED, Attended
from search_spaces.mixers.attention.neighbourhood import neighbours, weighed_sum
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import ConvNorm, OddSize

DEALT = 4
"""Heads that are shared out alike."""


class SpanAttention(nn.Module):
    """Attention heads and span-based dynamic convolution heads, (B, C, H, W) -> (B, C, H, W); ConvBERT's, on
    maps.

    "ConvBERT: Improving BERT with Span-based Dynamic Convolution" (Jiang et al., NeurIPS 2020), section 3.3.
    Of every four heads one, two or three attend: the first, then the third, then the last, so that a head
    keeps its kind at any width. Each kind has a projection of its own, and their sum is the output. Queries
    and values are not shared between the kinds, and the bottleneck of the attention is left out.

    Args:
        channels: C, a multiple of ``head_channels``.
        attended: share of the heads that attend: 0.25, 0.5 or 0.75.
        kernel: side of the kernels that are made, in pixels, odd.
        head_channels: channels of a head.

    Raises:
        ValueError: a width that is no multiple of the head's.
    """

    def __init__(
        self,
        channels: int,
        *,
        attended: Attended,
        kernel: OddSize = 3,
        head_channels: HeadChannels = HEAD_CHANNELS,
    ) -> None:
        super().__init__()
        heads = heads_of(channels, head_channels, "span_attention")
        count = round(attended * DEALT)
        attending = {0, 2, 3} if count == 3 else {0, 2} if count == 2 else {0}
        whole = sum(head % DEALT in attending for head in range(heads))
        # The names say the share: of another one, the same heads mean other things.
        self.whole = nn.ModuleDict({f"of_{count}": HeadsBetween(channels, whole, head_channels)})
        self.near = nn.ModuleDict()
        if heads > whole:
            self.near[f"of_{DEALT - count}"] = SpanConvolution(channels, heads - whole, head_channels, kernel)

    def forward(self, x: Tensor) -> Tensor:
        (whole,) = self.whole.values()
        mixed: Tensor = whole(x, x)
        for near in self.near.values():
            mixed = mixed + near(x)
        return mixed


class SpanConvolution(nn.Module):
    """Convolution heads whose kernels a softmax makes of queries times keys of a span, projected."""

    def __init__(self, channels: int, heads: int, head_channels: int, kernel: int) -> None:
        super().__init__()
        inner = heads * head_channels
        self.kernel, self.head_channels = kernel, head_channels
        self.q = ConvNorm(channels, inner)
        self.v = ConvNorm(channels, inner)
        self.span = ConvNorm(channels, channels, kernel, groups=channels)
        self.span_key = ConvNorm(channels, inner)
        # The name says the size: taps and heads lie along one side of its weights.
        self.taps = nn.ModuleDict({f"of_{kernel}": ConvNorm(inner, heads * kernel**2)})
        self.project = ConvNorm(inner, channels)

    def forward(self, x: Tensor) -> Tensor:
        (taps,) = self.taps.values()
        logits = taps(self.q(x) * self.span_key(self.span(x))).unflatten(1, (-1, self.kernel**2))
        weights = torch.softmax(logits, dim=2)  # (B, heads, kernel^2, H, W)
        values = neighbours(self.v(x), self.kernel, 1, self.head_channels)
        mixed: Tensor = self.project(weighed_sum(values, weights))
        return mixed


register_mixer(
    Mixer(
        name="span_attention",
        make=SpanAttention,
        choices=(ATTENDED,),
        channel_multiple="head_channels",
    )
)
