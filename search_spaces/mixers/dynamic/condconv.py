"""A depthwise convolution with several kernels, mixed for each image."""

from __future__ import annotations

from search_spaces.choice import Choice
from search_spaces.mixers.dynamic.experts import ExpertConvNorm, Experts
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import KERNEL, OddSize


class CondConv(ExpertConvNorm):
    """A depthwise convolution whose kernel is mixed for each image, (B, C, H, W) -> (B, C, H, W).

    "CondConv: Conditionally Parameterized Convolutions for Efficient Inference" (Yang et al., NeurIPS
    2019), section 3, with BatchNorm and activation behind it. The block ``mbconv_experts`` has it in every
    place of an inverted residual, as the paper's EfficientNet has.

    Args:
        channels: C.
        activation: name of the activation after the norm.
        kernel: side of the kernel in pixels, odd.
        experts: kernels that are mixed.
    """

    def __init__(self, channels: int, *, activation: str, kernel: OddSize, experts: Experts) -> None:
        super().__init__(channels, channels, kernel, depthwise=True, activation=activation, experts=experts)


register_mixer(Mixer(name="condconv", make=CondConv, choices=(KERNEL, Choice("experts", (2, 4, 8)))))
