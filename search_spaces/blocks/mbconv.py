"""The inverted residual of the MobileNets: wide inside, with a depthwise convolution."""

from __future__ import annotations

from torch import nn

from search_spaces.blocks.joined import Joined, in_a_row
from search_spaces.blocks.registry import Block, register_block
from search_spaces.choice import Choice
from search_spaces.gates.registry import GATE, GateName, gated
from search_spaces.parts import ConvNorm, OddSize, PositiveRatio


class InvertedResidual(Joined):
    """A 1x1 convolution to more channels, a depthwise one, and a 1x1 one back, linear; x beside them.

    "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (Sandler et al., CVPR 2018), table 1; a gate
    stands where MobileNetV3 has it, after the depthwise convolution (Howard et al., ICCV 2019, figure 4). No
    first convolution where the expansion is 1, no shortcut where the shape changes.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        stride: stride of the depthwise convolution.
        activation: name of the activation after the first two convolutions.
        kernel: side of the depthwise kernel in pixels, odd.
        expansion: channels inside over ``inputs``.
        gate: gate of the depthwise convolution's output.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        stride: int,
        activation: str,
        kernel: OddSize,
        expansion: PositiveRatio,
        gate: GateName = "none",
    ) -> None:
        hidden = round(inputs * expansion)
        expand: dict[str, nn.Module] = {}
        if hidden != inputs:
            expand = {"expand": ConvNorm(inputs, hidden, activation=activation)}
        inner = in_a_row(
            **expand,
            depthwise=ConvNorm(hidden, hidden, kernel, stride=stride, groups=hidden, activation=activation),
            **gated(gate, hidden),
            project=ConvNorm(hidden, outputs),
        )
        super().__init__(inner, inputs, outputs, stride)


register_block(
    Block(
        name="mbconv",
        make=InvertedResidual,
        choices=(Choice("kernel", (3, 5), role="kernel"), Choice("expansion", (2, 4, 6)), GATE),
    )
)
