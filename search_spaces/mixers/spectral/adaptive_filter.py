"""A filter of each map's own, by frequency: a convolution as large as the map, whose kernel the input makes.

"Adaptive Frequency Filters As Efficient Global Token Mixers" (Huang et al., ICCV 2023), section 3.2: to
frequencies, two grouped layers there that make a mask, the product, and back. The groups are of a fixed
width, where the paper fixes their number, so that a channel's group doesn't depend on the width; the first
layer has a norm that folds into it. Left out is the shrinkage of small values in the mask, of the authors'
code.
"""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn

from search_spaces.choice import Choice
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.mixers.spectral.matrices import fourier
from search_spaces.parts import ConvNorm, Positive, groups_name

fx.wrap("fourier")  # whoever folds norms traces without sizes


class AdaptiveFilter(nn.Module):
    """The map of mask(F) * F, F the frequencies of x, a complex product; (B, C, H, W) -> (B, C, H, W).

    Args:
        channels: C, a multiple of the filter width.
        activation: name of the activation between the layers that make the mask.
        filter_width: channels of a group of those layers, each with its real and imaginary part.
    """

    def __init__(self, channels: int, *, activation: str, filter_width: Positive) -> None:
        super().__init__()
        self.width, groups = filter_width, channels // filter_width
        mask = nn.Sequential(
            ConvNorm(2 * channels, 2 * channels, groups=groups, activation=activation),
            nn.Conv2d(2 * channels, 2 * channels, 1, groups=groups),
        )
        self.mask = nn.ModuleDict({groups_name(filter_width, groups): mask})

    def forward(self, x: Tensor) -> Tensor:
        transform = fourier(x)
        real, imaginary = transform.forth(x)
        batch, _, rows, columns = real.shape
        split, joined = (batch, -1, self.width, rows, columns), (batch, -1, rows, columns)
        (mask,) = self.mask.values()
        # By groups: the real parts of its channels, then the imaginary parts.
        parts = torch.cat([real.reshape(split), imaginary.reshape(split)], dim=2).reshape(joined)
        parts = mask(parts).reshape(batch, -1, 2 * self.width, rows, columns)
        by_real = parts[:, :, : self.width].reshape(joined)
        by_imaginary = parts[:, :, self.width :].reshape(joined)
        mixed: Tensor = transform.back(
            real * by_real - imaginary * by_imaginary, real * by_imaginary + imaginary * by_real
        )
        return mixed


register_mixer(
    Mixer(
        name="aff",
        make=AdaptiveFilter,
        choices=(Choice("filter_width", (4, 8)),),
        channel_multiple="filter_width",
    )
)
