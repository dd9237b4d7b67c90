"""Orchid: a convolution over the whole sequence whose kernel follows from the sequence."""

from __future__ import annotations

from torch import Tensor, fx, nn

from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.mixers.sequence.raster import Raster
from search_spaces.mixers.spectral.matrices import fourier
from search_spaces.parts import KERNEL, ConvNorm, OddSize

fx.wrap("fourier")
EPSILON = 1e-6


class Orchid(Raster):
    """g_2 (h(x) * (g_1 v)), a periodic convolution between two gates, (B, C, H, W) -> (B, C, H, W).

    The kernel is h(x) = F^-1(k * |F(k' * x)|), k' a short depthwise convolution along the positions and k
    one along the frequencies; gates and values are 1x1 convolutions. "Orchid: Flexible and Data-Dependent
    Convolution for Sequence Modeling" (Karami and Ghodsi, NeurIPS 2024), section 3, with the first of its
    two conditioning networks: by the absolute value the kernel stays the same where the input is shifted.
    F are products with constant matrices of about L^2 / 2 numbers, L positions: quick for a few hundred.
    Its norms follow convolutions, where they fold.

    Args:
        channels: C.
        kernel: positions, and frequencies, of the short convolutions, odd.
    """

    def __init__(self, channels: int, *, kernel: OddSize) -> None:
        super().__init__(Gated(channels, kernel))


class Gated(nn.Module):
    """What ``orchid`` does with a sequence, (B, C, 1, L) -> (B, C, 1, L)."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.value = ConvNorm(channels, channels)
        self.before = ConvNorm(channels, channels)
        self.after = ConvNorm(channels, channels)
        self.position = ConvNorm(channels, channels, (1, kernel), groups=channels)
        self.frequency = nn.Conv2d(channels, channels, (1, kernel), padding=(0, kernel // 2), groups=channels)
        self.project = ConvNorm(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        transform = fourier(x)
        real, imaginary = transform.forth(self.position(x))
        strength = (real.square() + imaginary.square() + EPSILON).sqrt()
        kernel = self.frequency(strength)  # the transform of h(x): real, as h is symmetric
        real, imaginary = transform.forth(self.before(x) * self.value(x))
        mixed = transform.back(real * kernel, imaginary * kernel)
        result: Tensor = self.project(self.after(x) * mixed)
        return result


register_mixer(Mixer(name="orchid", make=Orchid, choices=(KERNEL,)))
