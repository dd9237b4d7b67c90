"""ResNet's basic block: two dense 3x3 convolutions beside a shortcut."""

from __future__ import annotations

from search_spaces.blocks.joined import Joined, in_a_row
from search_spaces.blocks.registry import Block, register_block
from search_spaces.gates.registry import GATE, GateName, gated
from search_spaces.parts import ConvNorm


class BasicResidual(Joined):
    """Two dense 3x3 convolutions and a shortcut, which is a 1x1 convolution where the shape changes.

    "Deep Residual Learning for Image Recognition" (He et al., CVPR 2016), figure 5 left, with the projected
    shortcut of option B. A gate stands before the sum, where SE-ResNet has it (Hu et al., CVPR 2018, fig. 3).

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        stride: stride of the first convolution and of the shortcut.
        activation: name of the activation after the first convolution and after the sum.
        gate: gate of the second convolution's output.
    """

    def __init__(
        self, inputs: int, outputs: int, *, stride: int, activation: str, gate: GateName = "none"
    ) -> None:
        inner = in_a_row(
            first=ConvNorm(inputs, outputs, 3, stride=stride, activation=activation),
            second=ConvNorm(outputs, outputs, 3),
            **gated(gate, outputs),
        )
        super().__init__(inner, inputs, outputs, stride, project=True, activation=activation)


register_block(Block(name="residual", make=BasicResidual, choices=(GATE,)))
