"""MaxViT's block: an inverted residual, attention in windows, and attention over a grid."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from search_spaces.blocks.mbconv import InvertedResidual
from search_spaces.blocks.registry import Block, register_block
from search_spaces.choice import Choice, Value
from search_spaces.gates.registry import GateName
from search_spaces.mixers.attention.heads import HEAD_CHANNELS, HeadChannels
from search_spaces.mixers.attention.region import Bias
from search_spaces.mixers.attention.window import (
    WINDOW,
    Positions,
    acting,
    acting_grid,
    grid_attention,
    window_attention,
)
from search_spaces.parts import Mlp, PositiveRatio, Residual


class MaxVit(nn.Sequential):
    """An inverted residual with squeeze and excitation, which may change the shape, then both attentions,
    each with an MLP after it, on residual paths.

    "MaxViT: Multi-Axis Vision Transformer" (Tu et al., ECCV 2022), section 3.3 and figure 2. The shortcut of
    an inverted residual that changes the shape, a pooled and projected x, is left out, as MobileNet has none.

    Args:
        inputs: channels of the input.
        outputs: channels of the output, a multiple of ``head_channels``.
        stride: stride of the depthwise convolution.
        activation: name of the activation.
        expansion: channels inside the inverted residual over ``outputs``.
        window: longest side of a window, and of the grid, in positions.
        ratio: hidden channels of the MLPs over ``outputs``.
        bias: bias of position: ``none``, ``log`` (Swin V2) or ``offset`` (CrossFormer).
        head_channels: channels of a head.
        gate: gate of the inverted residual; ``se_16`` is the paper's, with a quarter of ``outputs`` between.
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
        ratio: PositiveRatio,
        bias: Bias = "log",
        head_channels: HeadChannels = HEAD_CHANNELS,
        gate: GateName = "se",
    ) -> None:
        super().__init__()
        self.mbconv = InvertedResidual(
            inputs,
            outputs,
            stride=stride,
            activation=activation,
            kernel=3,
            expansion=expansion * outputs / inputs,
            gate=gate,
        )
        near = window_attention(outputs, window=window, shift=False, bias=bias, head_channels=head_channels)
        self.near = Residual(near)
        self.near_mlp = Residual(Mlp(outputs, ratio, activation))
        far = grid_attention(outputs, window=window, bias=bias, head_channels=head_channels)
        self.far = Residual(far)
        self.far_mlp = Residual(Mlp(outputs, ratio, activation))


def acting_both(values: Mapping[str, Value], shape: tuple[int, ...]) -> Mapping[str, Value]:
    """The smallest window that makes the same windows and the same grid of a map of that shape (C, H, W)."""
    sizes = [int(one(values, shape)["window"]) for one in (acting, acting_grid)]
    return {**values, "window": max(sizes)}


register_block(
    Block(
        name="maxvit",
        make=MaxVit,
        choices=(Choice("expansion", (4,)), WINDOW, Choice("ratio", (4,))),
        channel_multiple="head_channels",
        acting=acting_both,
    )
)
