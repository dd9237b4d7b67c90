"""Channels shifted around the map, the farther the larger the kernel that mixes them.

"Mixing and Shifting: Exploiting Global and Local Dependencies in Vision MLPs" (Zheng et al., 2022), section
3.2, with the distances and kernels of the authors' code. The paper cuts the channels into five equal groups;
here they are one, two, two, two and one of every eight, as which group a channel is in may not depend on the
width. Norms follow the convolutions that they fold into, where the paper has one of all channels after the
sum.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_spaces.choice import Choice
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.operations.dealing import Deal
from search_spaces.parts import ConvNorm, Positive

SIZES = (1, 2, 2, 2, 1)
SHIFTS = (-2, -1, 0, 1, 2)
KERNELS = (1, 1, 3, 5, 7)
"""Channels of every eight, pixels they are shifted by, and side of their kernel, of each group."""


class MixShift(nn.Module):
    """Depthwise kernels on maps shifted along rows, plus on maps shifted along columns; keeps (B, C, H, W).

    Shifts go around: what leaves the map comes in on the other side.

    Args:
        channels: C, a multiple of eight.
        distance: factor on the distances -2, -1, 0, 1, 2 of the groups.
    """

    def __init__(self, channels: int, *, distance: Positive) -> None:
        super().__init__()
        self.shifts = tuple(shift * distance for shift in SHIFTS)
        self.deal = Deal(SIZES, channels)
        self.along_rows, self.along_columns = (
            nn.ModuleList(
                ConvNorm(width, width, kernel, groups=width)
                for width, kernel in zip(self.deal.counts, KERNELS, strict=True)
            )
            for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        parts, mixed = self.deal.split(x), []
        for index, shift in enumerate(self.shifts):
            right, down = torch.roll(parts[index], shift, 3), torch.roll(parts[index], shift, 2)
            mixed.append(self.along_rows[index](right) + self.along_columns[index](down))
        return self.deal.join(mixed)


register_mixer(
    Mixer(
        name="mix_shift",
        make=MixShift,
        choices=(Choice("distance", (1, 2), role="kernel"),),
        channel_multiple=sum(SIZES),
    )
)
