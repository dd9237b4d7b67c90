"""Channels that look one pixel aside: mixing without weights.

"Fully 1x1 Convolutional Network for Lightweight Image Super-Resolution" (Wu et al., 2023), section 3.2, after
"Shift: A Zero FLOP, Zero Parameter Alternative to Spatial Convolutions" (Wu et al., CVPR 2018). Which channel
looks where repeats every eight channels, where the paper cuts them into as many equal groups as there are
directions: where a channel looks may not depend on the width. It is a depthwise convolution whose taps are
fixed: runtimes are slower at cutting, moving and joining parts of a map than at such a convolution.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import conv2d

from search_spaces.choice import Choice
from search_spaces.mixers.registry import Mixer, register_mixer

AROUND = ((0, -1), (0, 1), (-1, 0), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))
"""Rows down and columns right of the pixel that a channel looks at: beside and above, then diagonally."""


class Shift(nn.Module):
    """Each channel is that of a neighbouring pixel, zero beyond the map; (B, C, H, W) -> (B, C, H, W).

    Args:
        channels: C.
        directions: how many of every eight channels look at a neighbour, each at another one: 4 beside and
            above, 8 diagonally too; the others stay.
    """

    taps: Tensor

    def __init__(self, channels: int, *, directions: Annotated[int, Field(ge=1, le=len(AROUND))]) -> None:
        super().__init__()
        taps = torch.zeros(channels, 1, 3, 3)
        for channel in range(channels):
            place = channel % len(AROUND)
            down, right = AROUND[place] if place < directions else (0, 0)
            taps[channel, 0, 1 + down, 1 + right] = 1
        self.register_buffer("taps", taps, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return conv2d(x, self.taps, padding=1, groups=self.taps.shape[0])


register_mixer(Mixer(name="shift", make=Shift, choices=(Choice("directions", (4, 8)),)))
