"""Channels that look one pixel aside: mixing without weights and without arithmetic.

"Fully 1x1 Convolutional Network for Lightweight Image Super-Resolution" (Wu et al., 2023), section 3.2,
after "Shift" (Wu et al., CVPR 2018). Which channel looks where repeats every eight channels, where the paper
cuts them into as many equal groups as there are directions: where a channel looks may not depend on the
width.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import pad

from search_spaces.choice import Choice
from search_spaces.mixers.channels import collected, dealt
from search_spaces.mixers.registry import Mixer, register_mixer

AROUND = ((0, -1), (0, 1), (-1, 0), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))
"""Rows down and columns right of the pixel that a channel looks at: beside and above, then diagonally."""


class Shift(nn.Module):
    """Each channel is that of a neighbouring pixel, zero beyond the map; (B, C, H, W) -> (B, C, H, W).

    Args:
        channels: C, a multiple of eight.
        directions: how many of every eight channels look at a neighbour, each at another one: 4 beside and
            above, 8 diagonally too; the others stay.
    """

    def __init__(
        self,
        channels: int,  # noqa: ARG002  nothing in it depends on the width
        *,
        directions: Annotated[int, Field(ge=1, le=len(AROUND))],
    ) -> None:
        super().__init__()
        self.around = AROUND[:directions]
        still = len(AROUND) - directions
        self.sizes = (*(1 for _ in self.around), *((still,) if still else ()))

    def forward(self, x: Tensor) -> Tensor:
        parts, moved = dealt(x, self.sizes), []
        for (rows, columns), part in zip(self.around, parts, strict=False):
            # A negative margin cuts: what lies above comes down, and what leaves the map is lost.
            moved.append(pad(part, (-columns, columns, -rows, rows)))
        return collected([*moved, *parts[len(moved) :]], self.sizes)


register_mixer(
    Mixer(name="shift", make=Shift, choices=(Choice("directions", (4, 8)),), channel_multiple=len(AROUND))
)
