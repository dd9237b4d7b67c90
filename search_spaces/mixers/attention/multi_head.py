"""Attention whose number of heads is searched, whatever the width."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from search_spaces.choice import Choice
from search_spaces.mixers.attention.heads import HEAD_CHANNELS, Attend, HeadChannels, over
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import ConvNorm, Positive


class MultiHead(nn.Module):
    """softmax(q k^T / sqrt(d)) v over all positions, (B, C, H, W) -> (B, C, H, W).

    "AutoFormer: Searching Transformers for Visual Recognition" (Chen et al., ICCV 2021), section 3.2: heads
    are of one size and their number is chosen, so that queries and keys are as wide as the heads say and not
    as the block is. With values wider than keys it is the attention of "EfficientFormer: Vision Transformers
    at MobileNet Speed" (Li et al., NeurIPS 2022) and LeViT. Their biases of position are left out: they are
    tables of one size of map.

    Args:
        channels: C.
        heads: number of heads.
        head_channels: channels of a head's queries and keys.
        value_ratio: channels of a head's values over those of its keys.
    """

    def __init__(
        self,
        channels: int,
        *,
        heads: Annotated[int, Field(ge=1)],
        head_channels: HeadChannels = HEAD_CHANNELS,
        value_ratio: Positive = 1,
    ) -> None:
        super().__init__()
        inner = heads * head_channels
        self.head_channels, self.value_channels = head_channels, head_channels * value_ratio
        self.q = ConvNorm(channels, inner)
        self.k = ConvNorm(channels, inner)
        self.v = ConvNorm(channels, inner * value_ratio)
        self.attend = Attend(heads, self.value_channels)
        self.project = ConvNorm(inner * value_ratio, channels)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.project(
            over(self.q(x), self.k(x), self.v(x), self.attend, self.head_channels, self.value_channels)
        )
        return mixed


register_mixer(Mixer(name="multi_head", make=MultiHead, choices=(Choice("heads", (1, 2, 4)),)))
