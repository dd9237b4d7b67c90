"""A mixture of experts: MLPs whose weights each image mixes before they are used."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import init

from search_spaces.channel_mixers.registry import ChannelMixer, register_channel_mixer
from search_spaces.choice import Choice
from search_spaces.parts import ACTIVATIONS


class Experts(nn.Module):
    """Linear maps of several experts, mixed by image: (B, C, N), (B, experts) -> (B, outputs, N)."""

    def __init__(self, inputs: int, outputs: int, experts: int) -> None:
        super().__init__()
        self.sizes = (outputs, inputs)
        self.weight = nn.Parameter(torch.empty(experts, outputs, inputs))
        init.uniform_(self.weight, -1 / math.sqrt(inputs), 1 / math.sqrt(inputs))

    def forward(self, x: Tensor, shares: Tensor) -> Tensor:
        mixed = shares @ self.weight.flatten(1)
        return mixed.reshape(-1, *self.sizes) @ x


class MixedExperts(nn.Module):
    """An MLP whose matrices are sums of those of all experts, weighed by image; (B, C, H, W) -> (B, C, H, W).

    "CondConv: Conditionally Parameterized Convolutions for Efficient Inference" (Yang et al., NeurIPS 2019),
    section 3, on both layers of an MLP with one routing: an image's mean channels, a linear map, a sigmoid.
    ParameterNet (Han et al., CVPR 2024) routes alike. However many experts there are, a position goes through
    one MLP: they add parameters, and E * C * hidden multiply-accumulates an image for the mixing. Each
    expert's share is its own, not one of a softmax, so that fewer experts are the leading ones of more.
    Experts that positions choose (top-1 routing) need operators that the static graphs of runtimes lack.

    Args:
        channels: C.
        ratio: hidden channels over C.
        activation: name of the activation.
        experts: how many there are.
    """

    def __init__(
        self, channels: int, *, ratio: float, activation: str, experts: Annotated[int, Field(ge=1)]
    ) -> None:
        super().__init__()
        hidden = round(channels * ratio)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.route = nn.Linear(channels, experts)
        self.expand = Experts(channels, hidden, experts)
        self.inner_norm = nn.BatchNorm1d(hidden)
        self.act = ACTIVATIONS[activation]()
        self.project = Experts(hidden, channels, experts)
        self.outer_norm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        shares = torch.sigmoid(self.route(self.pool(x).flatten(1)))
        hidden = self.act(self.inner_norm(self.expand(x.flatten(2), shares)))
        mixed: Tensor = self.outer_norm(self.project(hidden, shares))
        return mixed.reshape(x.shape)


register_channel_mixer(ChannelMixer(name="moe", make=MixedExperts, choices=(Choice("experts", (2, 4)),)))
