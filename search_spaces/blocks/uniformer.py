"""UniFormer's blocks: a depthwise convolution for position, a local or a global relation, an MLP."""

from __future__ import annotations

from torch import nn

from search_spaces.blocks.joined import in_a_row
from search_spaces.blocks.metaformer import RATIO
from search_spaces.blocks.registry import Block, register_block
from search_spaces.choice import Choice
from search_spaces.mixers.attention import Attention
from search_spaces.mixers.attention.heads import HEAD_CHANNELS
from search_spaces.parts import ConvNorm, Mlp, OddSize, PositiveRatio, Residual


class _UniFormer(nn.Sequential):
    """x + depthwise 3x3 (its dynamic position embedding), x + relation, x + MLP."""

    def __init__(self, channels: int, relation: nn.Module, ratio: float, activation: str) -> None:
        super().__init__()
        self.position = Residual(ConvNorm(channels, channels, 3, groups=channels))
        self.relation = Residual(relation)
        self.mlp = Residual(Mlp(channels, ratio, activation))


class UniFormerLocal(_UniFormer):
    """A relation of neighbours: a 1x1, a depthwise and a 1x1 convolution; with position and MLP around it.

    "UniFormer: Unifying Convolution and Self-attention for Visual Recognition" (Li et al., TPAMI 2023; first
    in ICLR 2022), section 3.2, local MHRA. Norms follow the convolutions.

    Args:
        inputs: channels of the block; what stands before the stage changes the shape.
        outputs: the same number.
        stride: 1.
        activation: name of the activation of the MLP.
        kernel: side of the depthwise kernel in pixels, odd; the paper has 5.
        ratio: hidden channels of the MLP over ``inputs``; the paper has 4.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,  # noqa: ARG002  the same as the inputs
        *,
        stride: int,  # noqa: ARG002  always 1
        activation: str,
        kernel: OddSize,
        ratio: PositiveRatio,
    ) -> None:
        relation = in_a_row(
            before=ConvNorm(inputs, inputs),
            depthwise=ConvNorm(inputs, inputs, kernel, groups=inputs),
            after=ConvNorm(inputs, inputs),
        )
        super().__init__(inputs, relation, ratio, activation)


class UniFormerGlobal(_UniFormer):
    """Attention over the whole map, with position and MLP around it.

    The same paper, section 3.2, global MHRA, with heads of 16 channels where it has 64.

    Args:
        inputs: channels of the block, a multiple of 16; what stands before the stage changes the shape.
        outputs: the same number.
        stride: 1.
        activation: name of the activation of the MLP.
        ratio: hidden channels of the MLP over ``inputs``; the paper has 4.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,  # noqa: ARG002  the same as the inputs
        *,
        stride: int,  # noqa: ARG002  always 1
        activation: str,
        ratio: PositiveRatio,
    ) -> None:
        super().__init__(inputs, Attention(inputs), ratio, activation)


register_block(
    Block(
        name="uniformer_local",
        make=UniFormerLocal,
        choices=(Choice("kernel", (3, 5), role="kernel"), RATIO),
        entered=True,
    )
)
register_block(
    Block(
        name="uniformer_global",
        make=UniFormerGlobal,
        choices=(RATIO,),
        channel_multiple=HEAD_CHANNELS,
        entered=True,
    )
)
