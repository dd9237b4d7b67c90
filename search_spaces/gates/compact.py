"""Compact channel attention: one layer on the means of the channels."""

from __future__ import annotations

from torch import Tensor, nn

from search_spaces.gates.registry import GATES


@GATES.register("cca")
class CompactChannelAttention(nn.Module):
    """x * hard_sigmoid(W mean(x) + b), (B, C, H, W) -> (B, C, H, W).

    "DiCo: Revitalizing ConvNets for Scalable and Efficient Diffusion Modeling" (Ai et al., 2025), section
    3.2, with a hard sigmoid as that of ``se``.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.mix = nn.Conv2d(channels, channels, 1)
        self.weigh = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        weights: Tensor = self.weigh(self.mix(self.pool(x)))
        return x * weights
