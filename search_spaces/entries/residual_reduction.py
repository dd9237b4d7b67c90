"""Residual spatial reduction: a strided convolution beside the averages of what it reduces."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from search_spaces.entries.registry import StageEntry, register_entry
from search_spaces.parts import ConvNorm


class ResidualReduction(nn.Module):
    """A 3x3 convolution and its norm, plus averages of squares on as many channels as the input has.

    "Searching for Efficient Multi-Stage Vision Transformers" (Liao et al., 2021), section 3.1: the shortcut
    is average pooling, with zeros for the channels that are new. The norm follows the convolution, and folds;
    the position embedding after it is left out, as it is of one size of map.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        stride: stride of the convolution, and side of a square in pixels.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.reduce = ConvNorm(inputs, outputs, 3, stride=stride)
        square = nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False)
        self.pool = square if stride > 1 else nn.Identity()
        self.new = outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        # A negative number takes channels away: the last, as a narrower output has the leading ones.
        shortcut = functional.pad(self.pool(x), (0, 0, 0, 0, 0, self.new))
        result: Tensor = self.reduce(x) + shortcut
        return result


register_entry(StageEntry(name="residual_reduction", make=ResidualReduction))
