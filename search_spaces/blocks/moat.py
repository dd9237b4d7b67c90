"""MOAT's block: an inverted residual in the place of an MLP, and attention after it."""

from __future__ import annotations

from torch import nn

from search_spaces.blocks.mbconv import InvertedResidual
from search_spaces.blocks.registry import Block, register_block
from search_spaces.choice import Choice
from search_spaces.mixers.attention.heads import HEAD_CHANNELS, HeadChannels
from search_spaces.mixers.attention.region import Bias
from search_spaces.mixers.attention.window import WINDOW, Positions, acting, window_attention
from search_spaces.parts import PositiveRatio, Residual


class Moat(nn.Sequential):
    """An inverted residual with a 3x3 kernel, which may change the shape, then x + attention(x) in windows.

    "MOAT: Alternating Mobile Convolution and Attention Brings Strong Vision Models" (Yang et al., ICLR 2023),
    section 2. A window as large as the map is its global attention; windows need no shift, as the convolution
    lets them know of each other. Norms follow the convolutions that they fold into.

    Args:
        inputs: channels of the input.
        outputs: channels of the output, a multiple of ``head_channels``.
        stride: stride of the depthwise convolution.
        activation: name of the activation of the inverted residual.
        expansion: channels inside the inverted residual over ``outputs``.
        window: longest side of a window, in positions.
        bias: bias of position: ``none``, ``log`` (Swin V2) or ``offset`` (CrossFormer).
        head_channels: channels of a head.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        stride: int,
        activation: str,
        expansion: PositiveRatio,
        window: Positions,
        bias: Bias = "log",
        head_channels: HeadChannels = HEAD_CHANNELS,
    ) -> None:
        super().__init__()
        self.mbconv = InvertedResidual(
            inputs,
            outputs,
            stride=stride,
            activation=activation,
            kernel=3,
            expansion=expansion * outputs / inputs,
        )
        attention = window_attention(
            outputs, window=window, shift=False, bias=bias, head_channels=head_channels
        )
        self.attention = Residual(attention)


register_block(
    Block(
        name="moat",
        make=Moat,
        choices=(Choice("expansion", (2, 4)), WINDOW),
        channel_multiple="head_channels",
        acting=acting,
    )
)
