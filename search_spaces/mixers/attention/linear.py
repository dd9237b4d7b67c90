"""Attention without a softmax, whose cost grows with the map as a convolution's does."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_spaces.mixers.attention.heads import HEAD_CHANNELS, HeadChannels, by_head, heads_of
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import KERNEL, ConvNorm, OddSize

EPSILON = 1e-6


class LinearAttention(nn.Module):
    """relu(q) (relu(k)^T v) over relu(q) times the sum of relu(k), (B, C, H, W) -> (B, C, H, W); SLAB's.

    "SLAB: Efficient Transformers with Simplified Linear Attention and Progressive Re-parameterized Batch
    Normalization" (Guo et al., ICML 2024), section 3.3: heads of ReLU features, and a depthwise convolution
    of the values beside them. Left out are the position table on the keys, which is of one size of map, and
    its order of products for maps smaller than a head.

    Args:
        channels: C, a multiple of ``head_channels``.
        kernel: side of the depthwise kernel in pixels, odd.
        head_channels: channels of a head.

    Raises:
        ValueError: a width that is no multiple of the head's.
    """

    def __init__(
        self, channels: int, *, kernel: OddSize, head_channels: HeadChannels = HEAD_CHANNELS
    ) -> None:
        super().__init__()
        heads_of(channels, head_channels, "linear_attention")
        self.head_channels = head_channels
        self.q = ConvNorm(channels, channels)
        self.k = ConvNorm(channels, channels)
        self.v = ConvNorm(channels, channels)
        self.local = ConvNorm(channels, channels, kernel, groups=channels)
        self.project = ConvNorm(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        v = self.v(x)
        q, k = torch.relu(self.q(x)), torch.relu(self.k(x))
        queries, keys, values = (by_head(part.flatten(2), self.head_channels) for part in (q, k, v))
        context = values @ keys.transpose(-2, -1)  # (B, heads, d, d)
        total = keys.sum(dim=-1, keepdim=True).transpose(-2, -1)  # (B, heads, 1, d)
        mixed = context @ queries / (total @ queries + EPSILON)  # (B, heads, d, N)
        mixed = mixed.reshape(x.shape[0], -1, x.shape[2], x.shape[3])
        return self.project(mixed + self.local(v))


register_mixer(
    Mixer(
        name="linear_attention",
        make=LinearAttention,
        choices=(KERNEL,),
        channel_multiple="head_channels",
    )
)
