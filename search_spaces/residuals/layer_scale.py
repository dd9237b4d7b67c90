"""LayerScale: a residual path scaled by a learned number for each channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_spaces.residuals.registry import ResidualForm, register_residual


class LayerScale(nn.Module):
    """x + gamma * inner(x), gamma one learned number a channel, small at first.

    "Going deeper with Image Transformers" (Touvron et al., ICCV 2021), section 2.2: 0.1 at first for networks
    of up to 18 layers.

    Args:
        inner: keeps the shape.
        channels: width.
    """

    def __init__(self, inner: nn.Module, channels: int) -> None:
        super().__init__()
        self.inner = inner
        self.gamma = nn.Parameter(torch.full((channels, 1, 1), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gamma * self.inner(x)


register_residual(ResidualForm(name="layer_scale", make=LayerScale))
