"""DyT: a squashing function in the place of a norm."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_spaces.norms.registry import NORMS


@NORMS.register("dyt")
class DynamicTanh(nn.Module):
    """gamma * tanh(alpha * x) + beta with one alpha for all, (B, C, H, W) -> (B, C, H, W).

    "Transformers without Normalization" (Zhu et al., CVPR 2025), section 4, alpha of 0.5 at first. It has no
    statistics, so there is nothing to calibrate, and a channel knows of no other (the prefix rule holds).

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.tensor([0.5]))
        self.gamma = nn.Parameter(torch.ones(channels, 1, 1))
        self.beta = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.gamma * torch.tanh(self.alpha * x) + self.beta
