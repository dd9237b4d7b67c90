"""Xception's block: separable convolutions in a row beside a shortcut."""

from __future__ import annotations

from torch import Tensor, nn

from search_spaces.blocks.joined import Joined
from search_spaces.blocks.registry import Block, register_block
from search_spaces.choice import Choice
from search_spaces.parts import ACTIVATIONS, ConvNorm, OddSize, Positive


class Separable(nn.Module):
    """activation, depthwise kernel x kernel convolution, 1x1 convolution with its norm."""

    def __init__(self, inputs: int, outputs: int, kernel: int, activation: str) -> None:
        super().__init__()
        self.act = ACTIVATIONS[activation]()
        self.depthwise = nn.Conv2d(inputs, inputs, kernel, padding=kernel // 2, groups=inputs, bias=False)
        self.pointwise = ConvNorm(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.pointwise(self.depthwise(self.act(x)))
        return result


class SeparableResidual(Joined):
    """Separable convolutions, a 3x3 maximum where there is a stride, and a shortcut.

    "Xception: Deep Learning with Depthwise Separable Convolutions" (Chollet, CVPR 2017), figure 5: two of
    them in blocks that change the shape, whose shortcut is a 1x1 convolution, and three in the others.
    Nothing stands between a depthwise and its 1x1 convolution (section 4.7).

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        stride: stride of the maximum and of the shortcut.
        activation: name of the activation before each separable convolution.
        layers: how many of them there are.
        kernel: side of the depthwise kernels in pixels, odd.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        stride: int,
        activation: str,
        layers: Positive,
        kernel: OddSize,
    ) -> None:
        inner = nn.Sequential()
        for index in range(layers):
            inner.add_module(
                f"separable{index}", Separable(outputs if index else inputs, outputs, kernel, activation)
            )
        if stride > 1:
            inner.add_module("pool", nn.MaxPool2d(3, stride, padding=1))
        super().__init__(inner, inputs, outputs, stride, project=True)


register_block(
    Block(
        name="xception",
        make=SeparableResidual,
        choices=(Choice("layers", (2, 3), role="depth"), Choice("kernel", (3, 5), role="kernel")),
    )
)
