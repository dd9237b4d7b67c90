"""ConvMixer's block: a large depthwise convolution beside a shortcut, and a 1x1 convolution."""

from __future__ import annotations

from torch import nn

from search_spaces.blocks.registry import Block, register_block
from search_spaces.choice import Choice
from search_spaces.parts import ConvNorm, OddSize, Residual


class ConvMixer(nn.Sequential):
    """A 1x1 convolution of x plus a depthwise convolution of x, each with its norm and activation.

    "Patches Are All You Need?" (Trockman and Kolter, TMLR 2023), section 2. There the norm follows the
    activation; here it precedes it, so that it folds into the convolution. Its one resolution all through is
    a stage of a space, behind a stem whose stride is the size of a patch.

    Args:
        inputs: channels of the block; a convolution before the stage changes the shape.
        outputs: the same number.
        stride: 1.
        activation: name of the activation after each convolution.
        kernel: side of the depthwise kernel in pixels, odd.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        stride: int,  # noqa: ARG002  a convolution before the stage has it
        activation: str,
        kernel: OddSize,
    ) -> None:
        super().__init__()
        self.mix = Residual(ConvNorm(inputs, inputs, kernel, groups=inputs, activation=activation))
        self.pointwise = ConvNorm(inputs, outputs, activation=activation)


register_block(
    Block(
        name="convmixer",
        make=ConvMixer,
        choices=(Choice("kernel", (5, 7, 9), role="kernel"),),
        entered=True,
    )
)
