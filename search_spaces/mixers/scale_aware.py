"""Values weighed by depthwise convolutions of several sizes, which a small network brings together."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.operations.dealing import Deal
from search_spaces.parts import ConvNorm

KERNELS = (3, 5, 7, 9)
"""Sides of the kernels of the four heads, in pixels."""


class ScaleAware(nn.Module):
    """project(v * s), s from depthwise convolutions of four sizes; (B, C, H, W) -> (B, C, H, W); SMT's.

    "Scale-Aware Modulation Meet Transformer" (Lin et al., ICCV 2023), sections 3.2 and 3.3: the multi-head
    mixed convolution and the scale-aware aggregation. The paper's heads are four equal parts, whose channels
    it then deals out in groups of one of each; here every fourth channel is of the same head from the start,
    which is the same for other weights of the convolution before, and keeps its place at any width.

    Args:
        channels: C, a multiple of 4.
        activation: name of the activation between the two convolutions of the aggregation.

    Raises:
        ValueError: a width that is no multiple of 4.
    """

    def __init__(self, channels: int, *, activation: str) -> None:
        super().__init__()
        size, rest = divmod(channels, len(KERNELS))
        if rest:
            raise ValueError(
                f"scale_aware needs a width that is a multiple of {len(KERNELS)}, got {channels}"
            )
        self.deal = Deal((1,) * len(KERNELS), channels)
        self.v = ConvNorm(channels, channels)
        self.s = ConvNorm(channels, channels)
        self.heads = nn.ModuleList(ConvNorm(size, size, kernel, groups=size) for kernel in KERNELS)
        self.gather = ConvNorm(channels, 2 * channels, groups=size, activation=activation)
        self.mix = ConvNorm(2 * channels, channels)
        self.project = ConvNorm(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.deal.split(self.s(x))
        convolved = [head(part) for head, part in zip(self.heads, parts, strict=True)]
        modulation = self.mix(self.gather(self.deal.join(convolved)))
        return self.project(torch.mul(self.v(x), modulation))


register_mixer(Mixer(name="scale_aware", make=ScaleAware, channel_multiple=len(KERNELS)))
