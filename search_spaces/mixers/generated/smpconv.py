"""SMPConv: a kernel interpolated between a few points that move."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_spaces.mixers.generated.extent import EXTENT, acting
from search_spaces.mixers.generated.kernel_conv import GeneratedConvNorm, offsets
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import OddSize, Positive

UNIT = 8.0
SMALL = 5


class MovingPoints(GeneratedConvNorm):
    """A depthwise convolution whose kernel is interpolated between points, (B, C, H, W) -> (B, C, H, W).

    w_c(u) = sum_i w_ci max(0, 1 - |u - p_i|_1 / r_i), plus a plain kernel of 5x5. "SMPConv: Self-moving
    Point Representations for Continuous Convolution" (Kim and Park, CVPR 2023), section 3: places p_i and
    radii r_i are learned, and the same for all channels. The 5x5 kernel, a branch of its own there, is
    added to the other before the convolution. Coordinates are of pixels, so that a smaller kernel is the
    middle of a larger; the paper's span the kernel.

    Args:
        channels: C.
        activation: name of the activation after the norm.
        extent: side of the kernel in pixels, odd.
        points: points of the kernel.
    """

    def __init__(self, channels: int, *, activation: str, extent: OddSize, points: Positive = 16) -> None:
        super().__init__(PointKernel(channels, extent, points), channels, activation=activation)


class PointKernel(nn.Module):
    """The kernel (C, 1, extent, extent) of SMPConv."""

    of_weights = True

    def __init__(self, channels: int, extent: int, points: int) -> None:
        super().__init__()
        self.extent = extent
        self.places = nn.Parameter(0.3 * torch.randn(points, 2))
        self.radii = nn.Parameter(torch.full((points,), 2 / UNIT))
        self.weights = nn.Parameter(torch.empty(channels, points))
        self.small = nn.Parameter(torch.empty(channels, SMALL, SMALL))
        nn.init.normal_(self.weights, std=points**-0.5)
        nn.init.kaiming_uniform_(self.small.unsqueeze(1), a=5**0.5)

    def forward(self) -> Tensor:
        grid = offsets(self.extent, self.extent, UNIT, self.weights)
        away = (grid[:, :, None] - self.places).abs().sum(dim=-1)  # (extent, extent, points)
        near = (1 - away / self.radii).clamp(min=0)
        kernel = torch.einsum("hwp,cp->chw", near, self.weights)
        side = (self.extent - SMALL) // 2  # a negative one crops
        return (kernel + nn.functional.pad(self.small, (side,) * 4))[:, None]


register_mixer(Mixer(name="smpconv", make=MovingPoints, choices=(EXTENT,), acting=acting))
