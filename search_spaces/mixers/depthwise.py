"""One depthwise convolution: the cheapest mixer with weights of its own."""

from __future__ import annotations

from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import KERNEL, ConvNorm, OddSize


class Depthwise(ConvNorm):
    """Depthwise kernel x kernel convolution, BatchNorm, activation; (B, C, H, W) -> (B, C, H, W).

    The kernels of smaller sizes are the centres of the larger (Once-for-All, Cai et al., ICLR 2020,
    section 3.2, without its learned kernel transforms).

    Args:
        channels: C.
        activation: name of the activation after the norm.
        kernel: side of the kernel in pixels, odd.
    """

    def __init__(self, channels: int, *, activation: str, kernel: OddSize) -> None:
        super().__init__(channels, channels, kernel, groups=channels, activation=activation)


register_mixer(Mixer(name="depthwise", make=Depthwise, choices=(KERNEL,)))
