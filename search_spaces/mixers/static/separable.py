"""Depthwise separable convolution between two 1x1 ones.

"MetaFormer Baselines for Vision" (Yu et al., TPAMI 2024), section 2.3: the mixer of ConvFormer, which is
MobileNetV2's inverted bottleneck without its shortcut. Norms follow the convolutions that they fold into; the
paper has none here.
"""

from __future__ import annotations

from torch import nn

from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import KERNEL, ConvNorm, OddSize, Positive


class SeparableConv(nn.Sequential):
    """1x1, activation, depthwise kernel x kernel, 1x1; (B, C, H, W) -> (B, C, H, W).

    Args:
        channels: C.
        activation: name of the activation after the first convolution.
        kernel: side of the depthwise kernel in pixels, odd.
        expansion: channels of the depthwise convolution over C.
    """

    def __init__(self, channels: int, *, activation: str, kernel: OddSize, expansion: Positive = 2) -> None:
        super().__init__()
        inner = channels * expansion
        self.expand = ConvNorm(channels, inner, activation=activation)
        self.depthwise = ConvNorm(inner, inner, kernel, groups=inner)
        self.project = ConvNorm(inner, channels)


register_mixer(Mixer(name="sepconv", make=SeparableConv, choices=(KERNEL,)))
