"""ConvNeXt's block: a large depthwise convolution and an MLP beside a shortcut."""

from __future__ import annotations

from search_spaces.blocks.joined import Joined, in_a_row
from search_spaces.blocks.metaformer import RATIO
from search_spaces.blocks.registry import Block, register_block
from search_spaces.choice import Choice
from search_spaces.gates.registry import GateName, gated
from search_spaces.mixers.static.large_kernel import LargeKernel
from search_spaces.parts import ConvNorm, Mlp, OddSize, PositiveRatio


class ConvNext(Joined):
    """x plus a depthwise convolution and an MLP of 1x1 convolutions on its output.

    "A ConvNet for the 2020s" (Liu et al., CVPR 2022), figure 4. There a LayerNorm stands before the MLP and a
    learned scale after it; here each convolution has a BatchNorm that folds into it, so that the deployed
    block is three convolutions, and what a channel does never depends on how many there are (the prefix
    rule). The scale of the last norm takes the place of the learned one.

    Args:
        inputs: channels of the block; a convolution before the stage changes the shape.
        outputs: the same number.
        stride: 1.
        activation: name of the activation inside the MLP.
        kernel: side of the depthwise kernel in pixels, odd.
        ratio: hidden channels of the MLP over ``inputs``.
        dilated: whether the depthwise convolution is trained with dilated ones beside it that fold into it
            (``large_kernel``): with a gate the block of UniRepLKNet (Ding et al., CVPR 2024, figure 2), but
            for the response normalisation in its MLP.
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
        ratio: PositiveRatio,
        dilated: bool = False,
        gate: GateName = "none",
    ) -> None:
        plain = ConvNorm(inputs, inputs, kernel, groups=inputs)
        inner = in_a_row(
            depthwise=LargeKernel(inputs, large=kernel) if dilated else plain,
            **gated(gate, inputs),
            mlp=Mlp(inputs, ratio, activation),
        )
        super().__init__(inner, inputs, outputs, stride)


register_block(
    Block(
        name="convnext",
        make=ConvNext,
        choices=(Choice("kernel", (3, 5, 7), role="kernel"), RATIO),
        entered=True,
    )
)
