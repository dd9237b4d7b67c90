"""A depthwise convolution whose taps weigh the less, or the more, the farther they are from the centre.

"Optimal Density Functions for Weighted Convolution in Learning Models" (Cammarasana and Patanè, 2025): the
kernel is multiplied by a fixed density of the distance. It folds into the kernel. The paper looks for the
density by DIRECT-L beside the training; here its one number is a choice that the search decides.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import conv2d

from search_spaces.choice import Choice
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import KERNEL, ConvNorm, OddSize


class DensityConv(nn.Module):
    """Depthwise convolution with weight(i, j) * density^(|i| + |j|), norm, activation; keeps (B, C, H, W).

    Args:
        channels: C.
        activation: name of the activation after the norm.
        density: factor on a tap for each pixel it is away from the centre, in rows and in columns; 1 is the
            usual convolution.
        kernel: side of the kernel in pixels, odd.
    """

    weighing: Tensor

    def __init__(
        self,
        channels: int,
        *,
        activation: str,
        density: Annotated[float, Field(gt=0)],
        kernel: OddSize,
    ) -> None:
        super().__init__()
        self.depthwise = ConvNorm(channels, channels, kernel, groups=channels, activation=activation)
        away = (torch.arange(kernel) - kernel // 2).abs()
        self.register_buffer("weighing", float(density) ** (away[:, None] + away), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        conv = self.depthwise.conv
        mixed = conv2d(x, conv.weight * self.weighing, padding=conv.padding, groups=conv.groups)
        for part in list(self.depthwise)[1:]:
            mixed = part(mixed)
        return mixed

    def folded(self) -> nn.Module:
        """The depthwise convolution with the density in its kernel."""
        with torch.no_grad():
            self.depthwise.conv.weight *= self.weighing
        return self.depthwise


register_mixer(
    Mixer(
        name="density_conv",
        make=DensityConv,
        choices=(Choice("density", (0.5, 1.0, 1.5), role="category"), KERNEL),
    )
)
