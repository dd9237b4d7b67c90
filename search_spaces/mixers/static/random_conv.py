"""A depthwise convolution that stays as it was drawn, and a learned 1x1 convolution of what it gives.

"The Power of Linear Combinations: Learning with Random Convolutions" (Gavrikov and Keuper, 2023), section 4:
the learned combinations of random filters come near to learned filters while kernels are small. The
depthwise weights take no gradients.
"""

from __future__ import annotations

from torch import nn

from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import KERNEL, ConvNorm, OddSize


class RandomConv(nn.Sequential):
    """A frozen depthwise kernel x kernel convolution, then a 1x1 one; (B, C, H, W) -> (B, C, H, W).

    Args:
        channels: C.
        activation: name of the activation between the two.
        kernel: side of the depthwise kernel in pixels, odd.
    """

    def __init__(self, channels: int, *, activation: str, kernel: OddSize) -> None:
        super().__init__()
        self.depthwise = ConvNorm(channels, channels, kernel, groups=channels, activation=activation)
        self.depthwise.conv.weight.requires_grad_(False)
        self.project = ConvNorm(channels, channels)


register_mixer(Mixer(name="random_conv", make=RandomConv, choices=(KERNEL,)))
