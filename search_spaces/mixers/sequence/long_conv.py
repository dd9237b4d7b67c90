"""Long convolutions with kernels that are learned as they are, and squashed."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.mixers.sequence.raster import REACH, LongMixer
from search_spaces.parts import Positive


class LongConv(LongMixer):
    """A long convolution with the kernel sign(k) max(|k| - squash, 0), (B, C, H, W) -> (B, C, H, W).

    "Simple Hardware-Efficient Long Convolutions for Sequence Modeling" (Fu et al., ICML 2023), section
    3.2: the soft threshold keeps kernels smooth in frequency and sparse in time. What a position adds to
    itself is a weight of its own, not squashed; behind are an activation and a 1x1 convolution. The kernel
    sees both ways, ``reach`` positions each, where the paper's is as long as the sequence. Left out are
    the dropout of kernels and FlashButterfly, which is a CUDA kernel: deployed, this is a plain
    convolution.

    Args:
        channels: C.
        activation: name of the activation after the long convolution.
        reach: positions seen to each side. A smaller one is the middle of a larger.
        squash: amount that the kernel's values are brought towards zero.
    """

    def __init__(
        self,
        channels: int,
        *,
        activation: str,
        reach: Positive,
        squash: Annotated[float, Field(ge=0)] = 0.003,
    ) -> None:
        super().__init__(SquashedKernel(channels, reach, squash), channels, activation)


class SquashedKernel(nn.Module):
    """The kernel (C, 1, 1, 2 reach + 1) of ``long_conv``."""

    of_weights = True
    centre_dims: ClassVar = {"weight": (1,)}

    def __init__(self, channels: int, reach: int, squash: float) -> None:
        super().__init__()
        self.reach, self.squash = reach, squash
        self.weight = nn.Parameter(torch.randn(channels, 2 * reach + 1) * (2 * reach + 1) ** -0.5)
        self.direct = nn.Parameter(torch.randn(channels))

    def forward(self) -> Tensor:
        kernel = nn.functional.softshrink(self.weight, self.squash)
        here = nn.functional.pad(self.direct[:, None], (self.reach, self.reach))
        return (kernel + here)[:, None, None]


register_mixer(Mixer(name="long_conv", make=LongConv, choices=(REACH,)))
