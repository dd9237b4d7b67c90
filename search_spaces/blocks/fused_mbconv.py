"""The fused inverted residual of EfficientNetV2: one dense convolution for the first two of an mbconv."""

from __future__ import annotations

from search_spaces.blocks.joined import Joined, in_a_row
from search_spaces.blocks.registry import Block, register_block
from search_spaces.choice import Choice
from search_spaces.gates.registry import GATE, GateName, gated
from search_spaces.parts import ConvNorm, PositiveRatio


class FusedInvertedResidual(Joined):
    """A dense 3x3 convolution to more channels and a 1x1 one back, linear; x beside them.

    "EfficientNetV2: Smaller Models and Faster Training" (Tan and Le, ICML 2021), figure 2. Where the
    expansion is 1 it is the 3x3 convolution alone, as in the first stage there. No shortcut where the shape
    changes.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        stride: stride of the 3x3 convolution.
        activation: name of the activation after the 3x3 convolution.
        expansion: channels inside over ``inputs``.
        gate: gate of the 3x3 convolution's output.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        stride: int,
        activation: str,
        expansion: PositiveRatio,
        gate: GateName = "none",
    ) -> None:
        hidden = round(inputs * expansion)
        if hidden == inputs:
            inner = in_a_row(
                alone=ConvNorm(inputs, outputs, 3, stride=stride, activation=activation),
                **gated(gate, outputs),
            )
        else:
            inner = in_a_row(
                expand=ConvNorm(inputs, hidden, 3, stride=stride, activation=activation),
                **gated(gate, hidden),
                project=ConvNorm(hidden, outputs),
            )
        super().__init__(inner, inputs, outputs, stride)


register_block(
    Block(name="fused_mbconv", make=FusedInvertedResidual, choices=(Choice("expansion", (1, 2, 4)), GATE))
)
