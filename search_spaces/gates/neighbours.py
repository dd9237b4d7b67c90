"""Efficient channel attention: each channel is weighed by the means of its neighbours."""

from __future__ import annotations

from torch import Tensor, nn

from search_spaces.gates.registry import GATES

NEIGHBOURS = 3


@GATES.register("eca")
class EfficientChannelAttention(nn.Module):
    """x * hard_sigmoid(a convolution along the channels of mean(x)), (B, C, H, W) -> (B, C, H, W).

    "ECA-Net: Efficient Channel Attention for Deep Convolutional Neural Networks" (Wang et al., CVPR 2020,
    section 3.2). There the kernel grows with the width and the sigmoid is soft; here it is three channels
    at every width, as what a channel does may not depend on the width, and hard as that of ``se``.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:  # noqa: ARG002  its weights are as many at any width
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        # The channels lie along a side of the map: runtimes know two-dimensional convolutions best.
        self.mix = nn.Conv2d(1, 1, (NEIGHBOURS, 1), padding=(NEIGHBOURS // 2, 0), bias=False)
        self.weigh = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        means = self.pool(x).transpose(1, 2)  # (B, 1, C, 1)
        weights: Tensor = self.weigh(self.mix(means)).transpose(1, 2)
        return x * weights
