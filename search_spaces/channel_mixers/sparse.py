"""An MLP in which few hidden channels fire."""

from __future__ import annotations

from statistics import NormalDist
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from search_spaces.channel_mixers.registry import ChannelMixer, register_channel_mixer
from search_spaces.choice import Choice
from search_spaces.operations.dealing import Deal
from search_spaces.parts import ConvNorm

HAND = 8


class SparseMlp(nn.Module):
    """project(relu(z - t) * value(second)) with z = predict(first), normal and t its quantile.

    "Spark Transformer: Reactivating Sparsity in FFN and Attention" (You et al., 2025), section 3: some of the
    input channels predict which hidden channels fire, the others say what with, and a statistical top-k, the
    quantile of a normal distribution, cuts off all but a share. There mean and deviation are those of a
    position's hidden channels, which change with their number; here they are those of each hidden channel
    over a batch, which its BatchNorm knows: what a channel does depends on no other (the prefix rule), the
    share is kept on average, and deployed the threshold is a bias. For the same reason channels are dealt to
    the two in hands of eight. Runtimes gain nothing of the zeros unless they look for them.

    Args:
        channels: C, a multiple of 16.
        ratio: hidden channels over C.
        keep: share of the hidden channels that fire.
    """

    def __init__(self, channels: int, *, ratio: float, keep: Annotated[float, Field(gt=0, lt=1)]) -> None:
        super().__init__()
        hidden = round(channels * ratio)
        self.deal = Deal((HAND, HAND), channels)
        predicting, telling = self.deal.counts
        self.predict = nn.Conv2d(predicting, hidden, 1, bias=False)
        self.norm = nn.BatchNorm2d(hidden, affine=False)
        self.threshold = NormalDist().inv_cdf(1 - keep)
        self.value = ConvNorm(telling, hidden)
        self.project = ConvNorm(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.deal.split(x)
        fires = torch.relu(self.norm(self.predict(first)) - self.threshold)
        result: Tensor = self.project(fires * self.value(second))
        return result


register_channel_mixer(
    ChannelMixer(
        name="sparse_mlp",
        make=SparseMlp,
        choices=(Choice("keep", (0.08, 0.25)),),
        channel_multiple=2 * HAND,
    )
)
