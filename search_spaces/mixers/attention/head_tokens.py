"""Attention to all positions and to tokens that say what the heads' channels hold on the whole."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from search_spaces.mixers.attention.heads import HEAD_CHANNELS, HeadChannels, HeadsBetween, heads_of
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import ACTIVATIONS, ConvNorm


class HeadTokens(nn.Module):
    """Attention with head tokens among keys and values, (B, C, H, W) -> (B, C, H, W); DHVT's.

    "Bridging the Gap Between Vision Transformers and Convolutional Neural Networks on Small Datasets" (Lu et
    al., NeurIPS 2022), section 3.3: the channels of each head, averaged over the map and projected to all
    channels, are one more token, by which heads interact. There are as many as heads, and so more at a larger
    width, where every softmax would then be another; here there are ``tokens`` of them, and each is of the
    sum of every ``tokens``-th head. What the paper has them give to the class token is left out with that.

    Args:
        channels: C, a multiple of ``head_channels``.
        activation: name of the activation of the projection.
        tokens: number of head tokens.
        head_channels: channels of a head.

    Raises:
        ValueError: a width that is no multiple of the head's.
    """

    def __init__(
        self,
        channels: int,
        *,
        activation: str,
        tokens: Annotated[int, Field(ge=1)] = 4,
        head_channels: HeadChannels = HEAD_CHANNELS,
    ) -> None:
        super().__init__()
        heads = heads_of(channels, head_channels, "head_tokens")
        self.tokens, self.head_channels = tokens, head_channels
        self.missing = -heads % tokens * head_channels
        self.expand = ConvNorm(head_channels, channels)
        self.act = ACTIVATIONS[activation]()
        self.place = nn.Parameter(torch.randn(channels, tokens, 1) * 0.02)
        self.mix = HeadsBetween(channels, heads, head_channels)

    def forward(self, x: Tensor) -> Tensor:
        means = nn.functional.pad(x.mean(dim=(2, 3)), (0, self.missing))  # (B, rounds tokens d)
        sums = means.reshape(x.shape[0], -1, self.tokens, self.head_channels).sum(dim=1)  # (B, tokens, d)
        tokens = self.act(self.expand(sums.transpose(1, 2).unsqueeze(3))) + self.place  # (B, C, tokens, 1)
        mixed: Tensor = self.mix(x, torch.cat([x.reshape(x.shape[0], x.shape[1], -1, 1), tokens], dim=2))
        return mixed


register_mixer(Mixer(name="head_tokens", make=HeadTokens, channel_multiple="head_channels"))
