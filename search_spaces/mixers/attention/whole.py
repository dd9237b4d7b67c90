"""Multi-head self-attention over all positions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_spaces.mixers.attention.heads import HEAD_CHANNELS
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import ConvNorm


class Attention(nn.Module):
    """softmax(q k^T / sqrt(d)) v with heads of a fixed size, (B, C, H, W) -> (B, C, H, W).

    Queries, keys and values are separate 1x1 convolutions and the head size d is fixed, so that the
    leading channels of a wider network are exactly the heads of a narrower one (the prefix rule). The
    norms follow the projections and fold into them (LeViT, Graham et al., ICCV 2021, section 4.2).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels % HEAD_CHANNELS:
            raise ValueError(f"attention needs a width that is a multiple of {HEAD_CHANNELS}, got {channels}")
        self.q = ConvNorm(channels, channels)
        self.k = ConvNorm(channels, channels)
        self.v = ConvNorm(channels, channels)
        self.project = ConvNorm(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        # The projections say how many heads there are: pruning takes whole heads, x stays as wide.
        shape = (batch, -1, HEAD_CHANNELS, height * width)
        q, k, v = (part(x).reshape(shape) for part in (self.q, self.k, self.v))  # (B, heads, d, N)
        weights = torch.softmax(q.transpose(-2, -1) @ k * HEAD_CHANNELS**-0.5, dim=-1)  # (B, heads, N, N)
        mixed = v @ weights.transpose(-2, -1)  # (B, heads, d, N)
        return self.project(mixed.reshape(batch, -1, height, width))


register_mixer(Mixer(name="attention", make=Attention, channel_multiple=HEAD_CHANNELS))
