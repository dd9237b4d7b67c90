"""Averages of squares, then a 1x1 convolution."""

from __future__ import annotations

from torch import nn

from search_spaces.entries.registry import StageEntry, register_entry
from search_spaces.parts import ConvNorm


class Pooled(nn.Sequential):
    """The averages of squares, and a 1x1 convolution of them with its norm; no activation.

    The patch embedding of Next-ViT (Li et al., 2022, section 3.4), and the shortcut of ResNet-D (He et al.,
    CVPR 2019, figure 2c). Squares that the edge cuts off are averages of what is there.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        stride: side of a square in pixels.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        if stride > 1:
            self.pool = nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False)
        self.embed = ConvNorm(inputs, outputs)


register_entry(StageEntry(name="pooled", make=Pooled))
