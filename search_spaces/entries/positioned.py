"""Patch embedding with learned positions."""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from search_spaces.entries.patch import PatchMerging
from search_spaces.entries.registry import StageEntry, register_entry
from search_spaces.parts import Positive


def stretched(table: Tensor, x: Tensor) -> Tensor:
    """A table (C, side, side) between whose entries lie the positions of a map (B, C, H, W): (1, C, H, W)."""
    return functional.interpolate(table[None], size=x.shape[2:], mode="bilinear", align_corners=False)


fx.wrap("stretched")  # whoever folds norms traces without sizes


class PositionedPatch(nn.Module):
    """A patch embedding, and to every position what is learned of it.

    "An Image is Worth 16x16 Words" (Dosovitskiy et al., ICLR 2021), section 3.1. The table is one for every
    size of map, stretched over it, as that paper does between resolutions (section 3.2); a file holds what
    comes of that. The token of the class is left out: heads pool.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        stride: side of a patch in pixels.
        side: entries of the table along a side; 14 are the patches of ViT-S/16 at 224 pixels.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int, side: Positive = 14) -> None:
        super().__init__()
        self.patch = PatchMerging(inputs, outputs, stride=stride)
        self.positions = nn.Parameter(torch.empty(outputs, side, side))
        nn.init.trunc_normal_(self.positions, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.patch(x)
        return y + stretched(self.positions, y)


register_entry(StageEntry(name="positioned_patch", make=PositionedPatch))
