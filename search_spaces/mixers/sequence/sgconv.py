"""SGConv: a long kernel of few parameters, coarser and weaker the farther it reaches."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_spaces.mixers.fixed import resampling
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.mixers.sequence.raster import REACH, LongMixer, both_ways
from search_spaces.parts import Positive


class SgConv(LongMixer):
    """A long convolution whose kernel is of several scales, (B, C, H, W) -> (B, C, H, W).

    "What Makes Convolutional Models Great on Long Sequence Modeling?" (Li et al., ICLR 2023), section 3.2:
    the kernel is a row of pieces of ``piece`` parameters, stretched linearly to 1, 1, 2, 4 ... times their
    length, each half as strong as the one before. So its parameters grow with the logarithm of its length.
    It sees both ways, as the paper's does on images. The paper divides by the norm that the kernel has at
    the beginning, which would depend on its length; a BatchNorm follows.

    Args:
        channels: C.
        activation: name of the activation after the long convolution.
        reach: positions seen to each side. A smaller one has fewer pieces.
        piece: parameters of a piece.
    """

    def __init__(self, channels: int, *, activation: str, reach: Positive, piece: Positive = 8) -> None:
        super().__init__(ScaledKernel(channels, reach, piece), channels, activation)


class ScaledKernel(nn.Module):
    """The kernel (C, 1, 1, 2 reach + 1) of ``sgconv``."""

    of_weights = True

    def __init__(self, channels: int, reach: int, piece: int) -> None:
        super().__init__()
        self.reach, self.piece = reach, piece
        scales = 1
        while piece * 2 ** (scales - 1) < reach:
            scales += 1
        pieces = [torch.randn(2, channels, piece) * piece**-0.5 for _ in range(scales)]
        self.pieces = nn.ParameterList(nn.Parameter(one) for one in pieces)
        self.direct = nn.Parameter(torch.randn(channels))

    def forward(self) -> Tensor:
        pieces = []
        for scale, weight in enumerate(self.pieces):
            stretch = resampling(self.piece * 2 ** max(0, scale - 1), self.piece, weight)
            pieces.append(weight @ stretch.transpose(0, 1) * 0.5**scale)
        return both_ways(torch.cat(pieces, dim=-1)[..., : self.reach], self.direct)


register_mixer(Mixer(name="sgconv", make=SgConv, choices=(REACH,)))
