"""Patch merging: a convolution on patches that do not overlap."""

from __future__ import annotations

from torch import Tensor, fx, nn

from search_spaces.entries.registry import StageEntry, filled, register_entry
from search_spaces.parts import ConvNorm

fx.wrap("filled")  # whoever folds norms traces without sizes, and compares none


class PatchMerging(nn.Module):
    """A linear map of every patch of stride x stride pixels, and its norm; no activation.

    "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows" (Liu et al., ICCV 2021), section
    3.1: the pixels of a patch one after another, and a linear layer, which together are this convolution. The
    norm stands after it and folds. Sides that are no multiple of the stride are filled with zeros.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        stride: side of a patch in pixels.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.merge = ConvNorm(inputs, outputs, stride, stride=stride)
        self.merge.conv.padding = (0, 0)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.merge(filled(x, self.stride))
        return result


register_entry(StageEntry(name="patch", make=PatchMerging))
