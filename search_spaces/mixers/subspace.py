"""Channels weighed by where a few of them are large: a map of attention for every subspace of channels."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from search_spaces.choice import Choice
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import ConvNorm


class SubspaceAttention(nn.Module):
    """x times a softmax over positions, one for every subspace; (B, C, H, W) -> (B, C, H, W); ULSAM's.

    "ULSAM: Ultra-Lightweight Subspace Attention Module for Compact Convolutional Neural Networks" (Saini et
    al., WACV 2020), section 3: every channel is weighed and activated, maximised over 3x3, those of a
    subspace are brought together in one and activated, and its softmax over positions weighs them. The paper
    adds x, as the block's shortcut does here. Its 1, 2, 4 or 8 subspaces are more channels each at a larger
    width; here a subspace has a fixed number of them.

    Args:
        channels: C, a multiple of ``subspace``.
        subspace: channels of a subspace.

    Raises:
        ValueError: a width that is no multiple of the subspace's.
    """

    def __init__(self, channels: int, *, subspace: Annotated[int, Field(ge=1)]) -> None:
        super().__init__()
        number, rest = divmod(channels, subspace)
        if rest:
            raise ValueError(f"subspace needs a width that is a multiple of {subspace}, got {channels}")
        self.subspace = subspace
        self.weigh = ConvNorm(channels, channels, groups=channels, activation="relu")
        self.pool = nn.MaxPool2d(3, stride=1, padding=1)
        # The name says the size of a subspace, as weights of others mean other things.
        gather = ConvNorm(channels, number, groups=number, activation="relu")
        self.gather = nn.ModuleDict({f"of_{subspace}" if number > 1 else f"whole_{subspace}": gather})

    def forward(self, x: Tensor) -> Tensor:
        (gather,) = self.gather.values()
        seen = gather(self.pool(self.weigh(x)))  # (B, number, H, W)
        weights = torch.softmax(seen.flatten(2), dim=2).unsqueeze(2)  # (B, number, 1, N)
        grouped = x.reshape(x.shape[0], -1, self.subspace, x.shape[2] * x.shape[3])
        return (grouped * weights).reshape(x.shape)


register_mixer(
    Mixer(
        name="subspace",
        make=SubspaceAttention,
        choices=(Choice("subspace", (4, 8, 16), role="category"),),
        channel_multiple="subspace",
    )
)
