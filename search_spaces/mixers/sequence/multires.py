"""MultiresConv: one pair of short filters at every scale, as wavelets have it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_spaces.choice import Choice
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.mixers.sequence.raster import Raster
from search_spaces.parts import ACTIVATIONS, ConvNorm, Positive


class MultiresConv(Raster):
    """A weighted sum of what a tree of dilated convolutions finds, (B, C, H, W) -> (B, C, H, W).

    a_0 = x, a_j = h_0 *_j a_(j-1) and d_j = h_1 *_j a_(j-1) with 2^(j-1) positions between taps; y = w_0 x
    + sum_j w_j d_j + w a_J, then an activation and a 1x1 convolution. "Sequence Modeling with
    Multiresolution Convolutional Memory" (Shi et al., ICML 2023), section 3, with its fading memory. It is
    causal, as there: a position sees those before it, taps - 1 times 2^scales - 1.

    Args:
        channels: C.
        activation: name of the activation after the sum.
        scales: J. The filters are the same at all scales, so that fewer use those of more.
        taps: positions of a filter.
    """

    def __init__(self, channels: int, *, activation: str, scales: Positive, taps: Positive = 2) -> None:
        inner = nn.Sequential()
        inner.add_module("tree", Tree(channels, scales, taps))
        inner.add_module("act", ACTIVATIONS[activation]())
        inner.add_module("project", ConvNorm(channels, channels))
        super().__init__(inner)


class Tree(nn.Module):
    """The weighted sum of all scales, (B, C, 1, L) -> (B, C, 1, L)."""

    def __init__(self, channels: int, scales: int, taps: int) -> None:
        super().__init__()
        self.channels, self.taps = channels, taps
        spread = 2**0.5 / (2 * taps) ** 0.5
        self.coarse = nn.Parameter(torch.empty(channels, 1, 1, taps).uniform_(-spread, spread))
        self.fine = nn.Parameter(torch.empty(channels, 1, 1, taps).uniform_(-spread, spread))
        share = (scales + 2) ** -0.5
        self.details = nn.ParameterList(nn.Parameter(torch.randn(channels) * share) for _ in range(scales))
        self.rest = nn.Parameter(torch.randn(channels) * share)
        self.direct = nn.Parameter(torch.randn(channels) * share)

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.direct[:, None, None] * x
        for scale, detail in enumerate(self.details):
            dilation = 2**scale
            before = nn.functional.pad(x, ((self.taps - 1) * dilation, 0))
            fine, x = (
                nn.functional.conv2d(before, taps, dilation=(1, dilation), groups=self.channels)
                for taps in (self.fine, self.coarse)
            )
            mixed = mixed + detail[:, None, None] * fine
        return mixed + self.rest[:, None, None] * x


register_mixer(
    Mixer(name="multires", make=MultiresConv, choices=(Choice("scales", (3, 4, 5), role="depth"),))
)
