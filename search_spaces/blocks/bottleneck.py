"""ResNet-D's bottleneck: a 3x3 convolution between two 1x1 ones, beside a shortcut that pools."""

from __future__ import annotations

from search_spaces.blocks.joined import Joined, in_a_row
from search_spaces.blocks.registry import Block, register_block
from search_spaces.choice import Choice
from search_spaces.gates.registry import GATE, GateName, gated
from search_spaces.parts import ConvNorm, PositiveRatio

STEP = 8


class Bottleneck(Joined):
    """A 1x1 convolution to fewer channels, a 3x3 one of these and a 1x1 one back, and a shortcut.

    "Deep Residual Learning for Image Recognition" (He et al., CVPR 2016), figure 5 right; the stride is the
    3x3 convolution's, and a shortcut that changes the shape averages squares before its 1x1 convolution: the
    D variant of "Bag of Tricks" (He et al., CVPR 2019, figure 2c). A gate stands before the sum.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        stride: stride of the 3x3 convolution and of the shortcut.
        activation: name of the activation after the first two convolutions and after the sum.
        ratio: channels of the 3x3 convolution over ``outputs``, rounded to a multiple of 8.
        gate: gate of the last convolution's output.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        stride: int,
        activation: str,
        ratio: PositiveRatio,
        gate: GateName = "none",
    ) -> None:
        hidden = max(STEP, round(outputs * ratio / STEP) * STEP)
        inner = in_a_row(
            reduce=ConvNorm(inputs, hidden, activation=activation),
            spatial=ConvNorm(hidden, hidden, 3, stride=stride, activation=activation),
            expand=ConvNorm(hidden, outputs),
            **gated(gate, outputs),
        )
        super().__init__(inner, inputs, outputs, stride, project=True, pool=True, activation=activation)


register_block(Block(name="bottleneck", make=Bottleneck, choices=(Choice("ratio", (0.25, 0.5)), GATE)))
