"""Average pooling minus the input, scaled per channel.

"MetaFormer Is Actually What You Need for Vision" (Yu et al., CVPR 2022), section 3.2. We leave out the
norm before it and keep its layer scale, so that nothing here needs calibrating.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import KERNEL, OddSize


class Pooling(nn.Module):
    """scale * (average over a kernel x kernel window - x), (B, C, H, W) -> (B, C, H, W).

    Args:
        channels: C.
        kernel: side of the window in pixels, odd.
    """

    def __init__(self, channels: int, *, kernel: OddSize) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(kernel, stride=1, padding=kernel // 2, count_include_pad=False)
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * (self.pool(x) - x)


register_mixer(Mixer(name="pooling", make=Pooling, choices=(KERNEL,)))
