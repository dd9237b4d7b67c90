"""A depthwise convolution that reaches twice as far with each halving of the map, by recursion.

"RecConv: Efficient Recursive Convolutions for Multi-Frequency Representations" (Zhao et al., 2024), section
3.2: kernels of one size at successive halvings have the reach of a kernel 2^levels times as large, with
levels + 2 kernels and less than 5/3 of the multiply-accumulates. The last convolution has a norm that folds
into it, as those inside have none.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import interpolate

from search_spaces.choice import Choice
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import KERNEL, ConvNorm, OddSize, Positive

LEVELS = Choice("levels", (1, 2, 3), role="depth")
"""Halvings of the map inside a mixer, as a choice; mixers of one block share it."""


class RecursiveConv(nn.Module):
    """conv(x + up(conv(down(x) + ...))), all depthwise; (B, C, H, W) -> (B, C, H, W).

    Args:
        channels: C.
        levels: halvings of the map. Fewer levels are the finest of more.
        kernel: side of all kernels in pixels, odd.
    """

    def __init__(self, channels: int, *, levels: Positive, kernel: OddSize) -> None:
        super().__init__()
        self.down = nn.Conv2d(channels, channels, kernel, 2, kernel // 2, groups=channels, bias=False)
        self.inner = nn.ModuleList(
            nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=False)
            for _ in range(levels)
        )
        self.outer = ConvNorm(channels, channels, kernel, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for _ in self.inner:
            maps.append(self.down(maps[-1]))
        y = maps[-1]
        for level in range(len(self.inner) - 1, -1, -1):
            finer = maps[level]
            # The module's conv at a level is that of the map it works on: 0 at half the resolution.
            y = finer + interpolate(self.inner[level](y), size=finer.shape[2:], mode="bilinear")
        mixed: Tensor = self.outer(y)
        return mixed


register_mixer(Mixer(name="recconv", make=RecursiveConv, choices=(LEVELS, KERNEL)))
