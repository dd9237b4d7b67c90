"""FcaFormer's stage as a block: attention whose layers also see what the layers before have summed up."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from search_spaces.blocks.metaformer import RATIO
from search_spaces.blocks.registry import Block, register_block
from search_spaces.choice import Choice
from search_spaces.mixers.attention.heads import HEAD_CHANNELS, Attend, over
from search_spaces.parts import ConvNorm, Mlp, Positive, PositiveRatio, Residual


class CrossAttention(nn.Module):
    """Attention of a map to itself and to smaller ones, each times a learned number a channel."""

    def __init__(self, channels: int, others: int) -> None:
        super().__init__()
        self.scales = nn.ParameterList(torch.ones(1, channels, 1) for _ in range(others))
        self.q = ConvNorm(channels, channels)
        self.k = ConvNorm(channels, channels)
        self.v = ConvNorm(channels, channels)
        self.attend = Attend(channels // HEAD_CHANNELS, HEAD_CHANNELS)
        self.project = ConvNorm(channels, channels)

    def forward(self, x: Tensor, others: Sequence[Tensor]) -> Tensor:
        """(B, C, H, W) out of that and (B, C, N) of each of the others."""
        crossing = [scale * other for scale, other in zip(self.scales, others, strict=True)]
        tokens = torch.cat([x.flatten(2), *crossing], dim=2).unsqueeze(3)
        mixed = over(self.q(x), self.k(tokens), self.v(tokens), self.attend, HEAD_CHANNELS, HEAD_CHANNELS)
        result: Tensor = self.project(mixed)
        return result


class ForwardCrossLayer(nn.Module):
    """x + attention, x + depthwise 3x3, x + MLP."""

    def __init__(self, channels: int, others: int, ratio: float, activation: str) -> None:
        super().__init__()
        self.attention = CrossAttention(channels, others)
        self.enhance = Residual(ConvNorm(channels, channels, 3, groups=channels))
        self.mlp = Residual(Mlp(channels, ratio, activation))

    def forward(self, x: Tensor, others: Sequence[Tensor]) -> Tensor:
        x = x + self.attention(x, others)
        result: Tensor = self.mlp(self.enhance(x))
        return result


class ForwardCross(nn.Module):
    """Layers of attention and MLP that also attend to what all layers before summed up; keeps the shape.

    "FcaFormer: Forward Cross Attention in Hybrid Vision Transformer" (Zhang et al., ICCV 2023), section 3:
    a stage whose blocks make cross tokens (a depthwise convolution of a large kernel and a long stride) that
    the later ones have among their keys and values, each source with scales of its own; a small kernel
    enhances the tokens before the MLP. Layers of a space are given the map before them alone, so the stage
    is one block and its depth the choice ``layers``: with a layer go the tokens that it makes. Norms follow
    the convolutions.

    Args:
        inputs: channels of the block, a multiple of 16; what stands before the stage changes the shape.
        outputs: the same number.
        stride: 1.
        activation: name of the activation of the MLPs.
        layers: pairs of attention and MLP.
        merge: stride of the convolutions that make cross tokens; their kernel is one pixel less than two
            strides.
        ratio: hidden channels of the MLPs over ``inputs``.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,  # noqa: ARG002  the same as the inputs
        *,
        stride: int,  # noqa: ARG002  always 1
        activation: str,
        layers: Positive,
        merge: Positive,
        ratio: PositiveRatio,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            ForwardCrossLayer(inputs, before, ratio, activation) for before in range(layers)
        )
        # A long stride's kernel is no larger form of a short one's, so that it has a name of its own.
        self.merges = nn.ModuleDict(
            {
                f"of{layer}_by{merge}": ConvNorm(inputs, inputs, 2 * merge - 1, stride=merge, groups=inputs)
                for layer in range(layers - 1)
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        crossing: list[Tensor] = []
        merges = list(self.merges.values())
        for index, layer in enumerate(self.layers):
            x = layer(x, crossing)
            if index < len(merges):
                crossing = [*crossing, merges[index](x).flatten(2)]
        return x


register_block(
    Block(
        name="forward_cross",
        make=ForwardCross,
        choices=(
            Choice("layers", (2, 3), role="depth"),
            Choice("merge", (2, 4), role="category"),
            RATIO,
        ),
        channel_multiple=HEAD_CHANNELS,
        entered=True,
    )
)
