"""ResNet's bottleneck whose squeeze may be Pick-or-Mix: the largest or the mean of neighbouring channels."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import AfterValidator
from torch import Tensor, nn

from results.names import unknown
from search_spaces.blocks.joined import Joined, in_a_row
from search_spaces.blocks.registry import Block, register_block
from search_spaces.choice import Choice
from search_spaces.parts import ConvNorm, Positive

SQUEEZES = ("conv", "pix")
THRESHOLD = 0.5


def _known(name: str) -> str:
    if name not in SQUEEZES:
        raise ValueError(unknown("squeeze", name, SQUEEZES))
    return name


class PickOrMixResidual(Joined):
    """A squeeze to fewer channels, a 3x3 convolution, a 1x1 one back, and x beside them.

    "Pick-or-Mix: Dynamic Channel Sampling for ConvNets" (Kumar et al., CVPR 2024), section 3. The paper's
    squeeze goes into the 3x3 convolution directly; that by a 1x1 convolution is ResNet's (He et al., CVPR
    2016). Its use without training, on finished networks, is left out.

    Args:
        inputs: channels of the block, a multiple of ``reduction``.
        outputs: the same number.
        stride: 1.
        activation: name of the activation.
        squeeze: ``pix``, or ``conv`` for a 1x1 convolution.
        reduction: channels of the block over those of the 3x3 convolution.

    Raises:
        ValueError: a width that is no multiple of the reduction, or an unknown squeeze.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        stride: int,
        activation: str,
        squeeze: Annotated[str, AfterValidator(_known)],
        reduction: Positive = 4,
    ) -> None:
        hidden, rest = divmod(inputs, reduction)
        if rest:
            raise ValueError(f"pick_or_mix needs a width that is a multiple of {reduction}, got {inputs}")
        _known(squeeze)
        first = (
            PickOrMix(inputs, reduction)
            if squeeze == "pix"
            else ConvNorm(inputs, hidden, activation=activation)
        )
        inner = in_a_row(
            **{squeeze: first},
            spatial=ConvNorm(hidden, hidden, 3, activation=activation),
            expand=ConvNorm(hidden, outputs),
        )
        super().__init__(inner, inputs, outputs, stride, activation=activation)


class PickOrMix(nn.Module):
    """p max(set) where p < 1/2, else p mean(set), p = sigmoid(W mean(x) + b) of each image and set.

    (B, C, H, W) -> (B, C / size, H, W). Sets are of neighbouring channels.

    Args:
        channels: C.
        size: channels of a set.
    """

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.weigh = nn.Conv2d(channels, channels // size, 1)

    def forward(self, x: Tensor) -> Tensor:
        weight = torch.sigmoid(self.weigh(self.pool(x)))  # (B, C / size, 1, 1)
        sets = x.unflatten(1, (-1, self.size))
        return weight * torch.where(weight < THRESHOLD, sets.amax(2), sets.mean(2))


register_block(
    Block(
        name="pick_or_mix",
        make=PickOrMixResidual,
        choices=(Choice("squeeze", SQUEEZES),),
        channel_multiple="reduction",
        entered=True,
    )
)
