"""Gates that weigh each channel by row and by column: efficient local attention and coordinate attention."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from search_spaces.gates.registry import GATES

REDUCTION = 32
LEAST_HIDDEN = 8


@GATES.register("ela")
class EfficientLocalAttention(nn.Module):
    """x * a(rows) * b(columns), both depthwise convolutions along the means of x, (B, C, H, W) as it is.

    "ELA: Efficient Local Attention for Deep Convolutional Neural Networks" (Xu and Wan, 2024), section 3.3,
    with convolutions by channel (its versions T and B). There GroupNorms follow, whose groups grow with the
    width; here BatchNorms, which fold, and the sigmoid is hard as that of ``se``.

    Args:
        channels: C.
        kernel: length of the convolutions in pixels, odd.
    """

    def __init__(self, channels: int, kernel: int = 7) -> None:
        super().__init__()
        self.rows = _along(channels, (kernel, 1))
        self.columns = _along(channels, (1, kernel))
        self.weigh = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        rows: Tensor = self.weigh(self.rows(x.mean(dim=3, keepdim=True)))
        columns: Tensor = self.weigh(self.columns(x.mean(dim=2, keepdim=True)))
        return x * rows * columns


GATES.add("ela5", partial(EfficientLocalAttention, kernel=5))


def _along(channels: int, kernel: tuple[int, int]) -> nn.Sequential:
    padding = (kernel[0] // 2, kernel[1] // 2)
    conv = nn.Conv2d(channels, channels, kernel, padding=padding, groups=channels, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels))


@GATES.register("coordinate")
class CoordinateAttention(nn.Module):
    """x * a(rows) * b(columns), both from one small layer on the means of x; (B, C, H, W) as it is given.

    "Coordinate Attention for Efficient Mobile Network Design" (Hou et al., CVPR 2021), section 3.2, with a
    32nd of the channels between, at least eight, and a hard sigmoid as that of ``se``.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(LEAST_HIDDEN, channels // REDUCTION)
        self.squeeze = nn.Conv2d(channels, hidden, 1, bias=False)
        self.norm = nn.BatchNorm2d(hidden)
        self.act = nn.Hardswish()
        self.rows = nn.Conv2d(hidden, channels, 1)
        self.columns = nn.Conv2d(hidden, channels, 1)
        self.weigh = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        rows, columns = x.mean(dim=3, keepdim=True), x.mean(dim=2, keepdim=True).transpose(2, 3)
        hidden = self.act(self.norm(self.squeeze(torch.cat([rows, columns], dim=2))))  # (B, hidden, H + W, 1)
        parts = hidden.split([height, width], dim=2)
        by_row: Tensor = self.weigh(self.rows(parts[0]))
        by_column: Tensor = self.weigh(self.columns(parts[1].transpose(2, 3)))
        return x * by_row * by_column
