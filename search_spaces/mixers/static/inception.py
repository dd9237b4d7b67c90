"""Depthwise convolution in four branches: a small square, a row, a column, and nothing.

"InceptionNeXt: When Inception Meets ConvNeXt" (Yu et al., CVPR 2024), section 3.2. The paper gives each
kernel an eighth of the channels in one piece; here it is so many of every eight, as which channels those are
may not depend on the width. Its one norm after all branches stands here after each convolution, which it
folds into; channels without a kernel have none.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from search_spaces.choice import Choice
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.operations.dealing import Deal
from search_spaces.parts import ConvNorm, OddSize

PERIOD = 8


class InceptionDepthwise(nn.Module):
    """A square, a row and a column kernel on some channels each, (B, C, H, W) -> (B, C, H, W).

    Args:
        channels: C, a multiple of eight.
        band: pixels of the row, and of the column, odd.
        taken: channels of every eight that each of the three kernels has: 1 as in the paper, or 2.
        square: side of the square kernel in pixels, odd.
    """

    def __init__(
        self,
        channels: int,
        *,
        band: OddSize,
        taken: Annotated[int, Field(ge=1, le=2)],
        square: OddSize = 3,
    ) -> None:
        super().__init__()
        self.deal = Deal((taken, taken, taken, PERIOD - 3 * taken), channels)
        own = channels // PERIOD * taken
        # With two of eight the same weights would belong to other channels.
        self.branches = nn.ModuleDict(
            {
                f"square{taken}": ConvNorm(own, own, square, groups=own),
                f"row{taken}": ConvNorm(own, own, (1, band), groups=own),
                f"column{taken}": ConvNorm(own, own, (band, 1), groups=own),
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        *taken, rest = self.deal.split(x)
        convolved = [branch(part) for branch, part in zip(self.branches.values(), taken, strict=True)]
        return self.deal.join([*convolved, rest])


register_mixer(
    Mixer(
        name="inception_dw",
        make=InceptionDepthwise,
        choices=(Choice("band", (7, 9, 11), role="kernel"), Choice("taken", (1, 2))),
        channel_multiple=PERIOD,
    )
)
