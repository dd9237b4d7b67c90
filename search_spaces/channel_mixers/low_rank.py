"""An MLP whose two matrices are products of thin ones, with the rank as a choice."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import nn

from search_spaces.channel_mixers.registry import ChannelMixer, register_channel_mixer
from search_spaces.choice import Choice
from search_spaces.parts import ConvNorm


class LowRankMlp(nn.Sequential):
    """norm(U2 V2 act(norm(U1 V1 x))) at each position, (B, C, H, W) -> (B, C, H, W).

    "Maestro: Uncovering Low-Rank Structures via Trainable Decomposition" (Horvath et al., ICML 2024): the
    ranks of a decomposed layer are sampled while it trains, nested, so that the leading ones come to hold
    most (section 3, "layer-wise ordered dropout"). A supernet trains nested ranks by itself. Different here:
    a search chooses each block's rank by measured latency and accuracy, where the paper's group lasso shrinks
    them; both matrices of an MLP have one rank.

    Args:
        channels: C.
        ratio: hidden channels over C.
        activation: name of the activation of the hidden channels.
        rank: rank of both matrices over the smaller of C and the hidden channels.
    """

    def __init__(
        self, channels: int, *, ratio: float, activation: str, rank: Annotated[float, Field(gt=0, le=1)]
    ) -> None:
        super().__init__()
        hidden = round(channels * ratio)
        inner = max(1, round(rank * min(channels, hidden)))
        self.narrow = nn.Conv2d(channels, inner, 1, bias=False)
        self.expand = ConvNorm(inner, hidden, activation=activation)
        self.reduce = nn.Conv2d(hidden, inner, 1, bias=False)
        self.project = ConvNorm(inner, channels)


register_channel_mixer(
    ChannelMixer(name="low_rank_mlp", make=LowRankMlp, choices=(Choice("rank", (0.25, 0.5)),))
)
