"""A norm behind weights that are made for each image: they take its scale, and its shift stays."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn


class AddedShift(nn.Module):
    """x + shift of each channel, (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, shift: Tensor) -> None:
        super().__init__()
        self.bias = nn.Parameter(shift.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias[:, None, None]


def scale_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, AddedShift]:
    """The scale (C,) that a norm has in eval mode, and what it adds."""
    mean, spread = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    with torch.no_grad():
        scale = norm.weight * (spread + norm.eps).rsqrt()
        return scale, AddedShift(norm.bias - mean * scale)
