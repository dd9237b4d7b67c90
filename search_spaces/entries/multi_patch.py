"""Cross-scale embedding: patches of several sizes, some output channels from each."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from search_spaces.choice import Choice
from search_spaces.entries.registry import StageEntry, register_entry
from search_spaces.operations.dealing import Deal
from search_spaces.parts import ConvNorm

HANDS = ((16,), (8, 8), (8, 4, 4), (8, 4, 2, 2))
"""Output channels of each scale in a round of sixteen, by the number of scales: larger patches get fewer."""


class MultiPatch(nn.Module):
    """Convolutions of one stride and kernels that double, their channels side by side; no activation.

    "CrossFormer: A Versatile Vision Transformer Hinging on Cross-scale Attention" (Wang et al., ICLR 2022),
    section 3.1, where the largest patches give the fewest channels. There the scales have halves, quarters
    and eighths of the width; here they are dealt in rounds of sixteen channels, as a channel's scale may not
    depend on the width. Kernels have one pixel more than the paper's, which makes them odd and centred.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        stride: pixels from one patch to the next.
        scales: sizes of patches: the stride, twice, four times, eight times that.
    """

    def __init__(
        self, inputs: int, outputs: int, *, stride: int, scales: Annotated[int, Field(ge=1, le=4)]
    ) -> None:
        super().__init__()
        self.deal = Deal(HANDS[scales - 1], outputs)
        # Other numbers of scales deal out other channels: the name says how many there are.
        self.convs = nn.ModuleDict(
            {
                f"{index}_of_{scales}": ConvNorm(inputs, count, stride * 2**index // 2 * 2 + 1, stride=stride)
                for index, count in enumerate(self.deal.counts)
                if count
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.deal.join([conv(x) for conv in self.convs.values()])


register_entry(StageEntry(name="multi_patch", make=MultiPatch, choices=(Choice("scales", (2, 4)),)))
