"""FlexConv: a kernel that is a function of coordinates, under a Gaussian whose width is learned."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_spaces.mixers.generated.coordinates import Gabors
from search_spaces.mixers.generated.extent import EXTENT, acting
from search_spaces.mixers.generated.kernel_conv import GeneratedConvNorm, offsets
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import OddSize

UNIT = 8.0
THRESHOLD = 0.1


class FlexConv(GeneratedConvNorm):
    """A depthwise convolution with the kernel f(p) exp(-p^T S p / 2), (B, C, H, W) -> (B, C, H, W).

    "FlexConv: Continuous Kernel Convolutions with Differentiable Kernel Sizes" (Romero et al., ICLR 2022),
    section 3: f is a network of coordinates, S holds the two learned widths of the Gaussian, which
    training makes wide or narrow; where the Gaussian is below 0.1 the kernel is zero, and what is deployed
    is the rest. The kernel begins with 5x5 pixels. The paper's convolutions are dense, ours depthwise, as
    those of its successor ("Towards a General Purpose CNN for Long Range Dependencies in ND", Romero et
    al., 2022); its regularizer against aliasing is left out, since kernels are made for one resolution.

    Args:
        channels: C.
        activation: name of the activation after the norm.
        extent: largest side of the kernel in pixels, odd. A smaller one cuts the same function short.
    """

    def __init__(self, channels: int, *, activation: str, extent: OddSize) -> None:
        super().__init__(FlexKernel(channels, extent), channels, activation=activation)


class FlexKernel(nn.Module):
    """The kernel (C, 1, extent, extent) of FlexConv."""

    of_weights = True

    def __init__(self, channels: int, extent: int) -> None:
        super().__init__()
        self.extent = extent
        self.network = Gabors(channels)
        self.log_widths = nn.Parameter(torch.zeros(2))  # of pixels, down and right

    def forward(self) -> Tensor:
        places = offsets(self.extent, self.extent, 1.0, self.log_widths)
        mask = torch.exp(-0.5 * (places / self.log_widths.exp()).square().sum(dim=-1))
        mask = torch.where(mask < THRESHOLD, 0.0, mask)  # a hard edge, so that what is cut off is nothing
        values = self.network(places / UNIT) * mask[..., None]  # (extent, extent, C)
        return values.permute(2, 0, 1)[:, None]


register_mixer(Mixer(name="flexconv", make=FlexConv, choices=(EXTENT,), acting=acting))
