"""Maps as sequences, and what long convolutions over them have in common."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from search_spaces.choice import Choice, Value
from search_spaces.mixers.generated.kernel_conv import GeneratedConvNorm
from search_spaces.parts import ConvNorm

REACH = Choice("reach", (16, 32, 64), role="kernel")
"""Positions that a long convolution sees to each side."""


class Raster(nn.Module):
    """Runs a mixer on the positions of a map, one row after another: (B, C, H, W) as (B, C, 1, H W).

    A signal, of one row, is as it was. Two-dimensional maps are read as the diffusion transformers with
    state spaces read them (DiS, Fei et al., 2024, section 3)."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2], x.shape[3]
        y: Tensor = self.inner(x.flatten(2).unsqueeze(2))
        return y.flatten(2).unflatten(2, (height, width))


class LongMixer(Raster):
    """A depthwise convolution with a long kernel, BatchNorm, activation, and a 1x1 convolution, on a raster.

    Args:
        kernel: module that gives the kernel (C, 1, 1, 2 reach + 1).
        channels: C.
        activation: name of the activation after the long convolution.
    """

    def __init__(self, kernel: nn.Module, channels: int, activation: str) -> None:
        inner = nn.Sequential()
        inner.add_module("long", GeneratedConvNorm(kernel, channels, activation=activation))
        inner.add_module("project", ConvNorm(channels, channels))
        super().__init__(inner)


def both_ways(sides: Tensor, here: Tensor) -> Tensor:
    """The kernel of a convolution from what comes of earlier positions and of later ones.

    Args:
        sides: (2, C, reach), from the next position on.
        here: what comes of the position itself, (C,).

    Returns:
        (C, 1, 1, 2 reach + 1), in the order of positions.
    """
    return torch.cat([sides[0].flip(-1), here[:, None], sides[1]], dim=-1)[:, None, None]


def acting(values: Mapping[str, Value], shape: tuple[int, ...]) -> Mapping[str, Value]:
    """The least reach that sees all that the given one sees on a map of that shape (C, H, W)."""
    _, height, width = shape
    return {**values, "reach": max(1, min(int(values["reach"]), height * width - 1))}
