"""Kernels of several sizes, of which each channel takes a mixture that the whole map decides.

"Selective Kernel Networks" (Li et al., CVPR 2019), section 3.1. Branches are depthwise, where the paper's
have 32 groups; as there, larger kernels are dilated ones of nine taps. The small layer between has a bias
and no norm, as a norm of one position per image can't be trained at batch 1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_spaces.choice import Choice
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import ConvNorm, Positive

REDUCTION = 4
LEAST_HIDDEN = 8


class SelectiveKernel(nn.Module):
    """Sum of a_i(x) * branch_i(x), the a_i a softmax over the branches; (B, C, H, W) -> (B, C, H, W).

    Args:
        channels: C.
        activation: name of the activation after each branch.
        branches: number of kernels: sides 3, 5, 7 and so on, all of nine taps.
    """

    def __init__(self, channels: int, *, activation: str, branches: Positive) -> None:
        super().__init__()
        hidden = max(LEAST_HIDDEN, channels // REDUCTION)
        self.branches = nn.ModuleList(
            ConvNorm(channels, channels, 3, groups=channels, dilation=dilation, activation=activation)
            for dilation in range(1, branches + 1)
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.squeeze = nn.Conv2d(channels, hidden, 1)
        self.act = nn.ReLU()
        self.select = nn.ModuleList(nn.Conv2d(hidden, channels, 1) for _ in range(branches))

    def forward(self, x: Tensor) -> Tensor:
        maps = [branch(x) for branch in self.branches]
        total = maps[0]
        for one in maps[1:]:
            total = total + one
        hidden = self.act(self.squeeze(self.pool(total)))
        # (B, branches, C, 1, 1)
        shares = torch.softmax(torch.stack([select(hidden) for select in self.select], dim=1), dim=1)
        mixed: Tensor = maps[0] * shares[:, 0]
        for index in range(1, len(maps)):
            mixed = mixed + maps[index] * shares[:, index]
        return mixed


register_mixer(
    Mixer(name="selective", make=SelectiveKernel, choices=(Choice("branches", (2, 3), role="depth"),))
)
