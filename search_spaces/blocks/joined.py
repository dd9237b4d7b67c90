"""What blocks are put together with: a shortcut beside the block's own layers, and parts in a row."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from search_spaces.entries.pooled import Pooled
from search_spaces.parts import ACTIVATIONS, ConvNorm


def in_a_row(**parts: nn.Module) -> nn.Sequential:
    """These modules one after another, by their names."""
    return nn.Sequential(OrderedDict(parts))


class Joined(nn.Module):
    """activation(inner(x) + shortcut(x)); the shortcut is x itself where the shape stays.

    Args:
        inner: turns (B, inputs, H, W) into (B, outputs, H / stride, W / stride).
        inputs: channels of x.
        outputs: channels of the result.
        stride: pixels of x for one of the result.
        project: whether a 1x1 convolution is the shortcut where the shape changes; otherwise there is none
            then.
        pool: whether that convolution is of averages of squares (ResNet-D), not of every so-manieth pixel.
        activation: name of the activation of the sum; empty for none.
    """

    def __init__(
        self,
        inner: nn.Module,
        inputs: int,
        outputs: int,
        stride: int,
        *,
        project: bool = False,
        pool: bool = False,
        activation: str = "",
    ) -> None:
        super().__init__()
        self.inner = inner
        self.shortcut: nn.Module | None = None
        if inputs == outputs and stride == 1:
            self.shortcut = nn.Identity()
        elif project:
            make = Pooled if pool else ConvNorm
            self.shortcut = make(inputs, outputs, stride=stride)
        self.act = ACTIVATIONS[activation]() if activation else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(x)
        if self.shortcut is not None:
            y = y + self.shortcut(x)
        result: Tensor = self.act(y)
        return result
