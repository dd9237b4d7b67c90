"""Attention of every position to those around it, near or in steps, without a copy for each of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, fx, nn
from torch.nn import functional

from search_spaces.choice import Choice, Value
from search_spaces.mixers.attention.heads import HEAD_CHANNELS, HeadChannels, heads_of
from search_spaces.mixers.attention.partition import APART
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import KERNEL, ConvNorm, OddSize


class OffsetTable(nn.Module):
    """A learned bias for each head and offset, (heads, kernel, kernel); that of a smaller kernel is its
    centre."""

    centre_dims: ClassVar = {"table": (1, 2)}

    def __init__(self, heads: int, kernel: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(heads, kernel, kernel))

    def forward(self, logits: Tensor) -> Tensor:
        """Logits (B, heads, kernel^2, H, W) plus their bias."""
        return logits + self.table.flatten(1)[:, :, None, None]


class Neighbourhood(nn.Module):
    """Attention to the kernel x kernel positions around, (B, C, H, W) -> (B, C, H, W); NA and DiNA.

    "Dilated Neighborhood Attention Transformer" (Hassani and Shi, 2022) and, for a dilation of 1,
    "Neighborhood Attention Transformer" (Hassani et al., CVPR 2023), with their bias a head and offset. Near
    the edge of a map the papers move the neighbourhood inside; here what lies outside is left out of the
    softmax. The maps are read shifted, one offset after another, so that no tensor is as many times the input
    as there are offsets but the weights, which are kernel^2 numbers a head and position.

    Args:
        channels: C, a multiple of ``head_channels``.
        kernel: positions of a neighbourhood along a side, odd.
        dilation: positions from one to the next.
        head_channels: channels of a head.

    Raises:
        ValueError: a width that is no multiple of the head's.
    """

    def __init__(
        self,
        channels: int,
        *,
        kernel: OddSize,
        dilation: Annotated[int, Field(ge=1)],
        head_channels: HeadChannels = HEAD_CHANNELS,
    ) -> None:
        super().__init__()
        heads = heads_of(channels, head_channels, "neighbourhood")
        self.kernel, self.dilation, self.head_channels = kernel, dilation, head_channels
        self.q = ConvNorm(channels, channels)
        self.k = ConvNorm(channels, channels)
        self.v = ConvNorm(channels, channels)
        self.bias = OffsetTable(heads, kernel)
        self.project = ConvNorm(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        size = self.head_channels
        q = self.q(x).unflatten(1, (-1, size)) * size**-0.5  # (B, heads, d, H, W)
        keys = neighbours(self.k(x), self.kernel, self.dilation, size)
        # A product added to nothing is a multiply-accumulate, and counted as one.
        nothing = x.new_zeros(())
        logits = torch.stack([torch.addcmul(nothing, q, key).sum(dim=2) for key in keys], dim=2)
        weights = torch.softmax(self.bias(logits) + outside(x, self.kernel, self.dilation), dim=2)
        return self.project(weighed_sum(neighbours(self.v(x), self.kernel, self.dilation, size), weights))


def neighbours(x: Tensor, kernel: int, dilation: int, head_channels: int) -> list[Tensor]:
    """Views of a map (B, heads d, H, W), each as it lies one offset away, zeros outside: (B, heads, d, H,
    W)."""
    height, width = x.shape[2], x.shape[3]
    padded = functional.pad(x, (kernel // 2 * dilation,) * 4)
    starts = [(i * dilation, j * dilation) for i in range(kernel) for j in range(kernel)]
    # Heads come after the shift: pruning takes a slice of five axes for one of channels, and finds no end.
    moved = (padded[:, :, down : down + height, right : right + width] for down, right in starts)
    return [one.unflatten(1, (-1, head_channels)) for one in moved]


def weighed_sum(values: list[Tensor], weights: Tensor) -> Tensor:
    """(B, heads d, H, W): the sum of (B, heads, d, H, W) with weights (B, heads, number, H, W)."""
    parts = weights.split(1, dim=2)
    mixed = weights.new_zeros(())
    for index, value in enumerate(values):  # by index: who traces without sizes can't iterate over a split
        mixed = torch.addcmul(mixed, value, parts[index])
    return mixed.flatten(1, 2)


def outside(x: Tensor, kernel: int, dilation: int) -> Tensor:
    """(kernel^2, H, W), what is added to the logits of a map: very negative where an offset leads outside."""
    return torch.from_numpy(_outside(int(x.shape[2]), int(x.shape[3]), kernel, dilation)).to(x)


fx.wrap("outside")  # whoever folds norms traces without sizes


@lru_cache(maxsize=256)
def _outside(height: int, width: int, kernel: int, dilation: int) -> NDArray[np.float32]:
    offsets = (np.arange(kernel) - kernel // 2) * dilation
    rows, columns = (np.arange(size) + offsets[:, None] for size in (height, width))
    down = ((rows < 0) | (rows >= height))[:, None, :, None]
    right = ((columns < 0) | (columns >= width))[None, :, None, :]
    return np.where(down | right, APART, 0).astype(np.float32).reshape(-1, height, width)


def acting(values: Mapping[str, Value], shape: tuple[int, ...]) -> Mapping[str, Value]:
    """The least dilation of those with which all neighbours lie outside a map of that shape (C, H, W)."""
    return {**values, "dilation": min(int(values["dilation"]), max(shape[1:]))}


register_mixer(
    Mixer(
        name="neighbourhood",
        make=Neighbourhood,
        choices=(KERNEL, Choice("dilation", (1, 2), role="kernel")),
        channel_multiple="head_channels",
        acting=acting,
    )
)
