"""Attention on some of the channels, a convolution and a maximum on the others."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, fx, nn
from torch.nn import functional

from search_spaces.choice import Choice
from search_spaces.mixers.attention.heads import Attend, over
from search_spaces.mixers.attention.reduced import Times
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.operations.dealing import Deal
from search_spaces.parts import ACTIVATIONS, ConvNorm

ATTENDED = Choice("attended", (0.25, 0.5, 0.75), role="category")
"""Share of the channels that attention has, as a choice of mixers; another share is no slice of a larger."""

Attended = Annotated[float, Field(gt=0, lt=1, multiple_of=0.25)]
"""Share that attention has, in quarters."""

Unit = Annotated[int, Field(ge=8, multiple_of=8)]
"""Channels that are dealt out alike."""


class InceptionAttention(nn.Module):
    """Low frequencies by attention, high ones by convolution and maximum; (B, C, H, W) -> (B, C, H, W);
    iFormer's.

    "Inception Transformer" (Si et al., NeurIPS 2022), section 3.1: of the channels that attention does not
    have, half are widened, convolved in 3x3 and activated, half are the maximum over 3x3, widened and
    activated. Attention is on averages of squares, spread out again. Then a 3x3 depthwise convolution is
    added to all, and a 1x1 one brings them together. The paper cuts the channels into three parts; here every
    ``unit`` channels are cut so, and attention has one head in each, so that a channel keeps its part at any
    width. The last convolution is the sum of one for each part.

    Args:
        channels: C, a multiple of ``unit``.
        attended: share of the channels that attention has.
        activation: name of the activation of the two other paths.
        unit: channels that are dealt out alike, a multiple of 8; a head has ``attended`` of them.
        pool: side of the squares whose averages attention is on, in positions; 1 for the map as it is.

    Raises:
        ValueError: a width that is no multiple of the unit.
    """

    def __init__(
        self,
        channels: int,
        *,
        attended: Attended,
        activation: str,
        unit: Unit = 32,
        pool: Times = 2,
    ) -> None:
        super().__init__()
        units, rest = divmod(channels, unit)
        if rest:
            raise ValueError(
                f"inception_attention needs a width that is a multiple of {unit}, got {channels}"
            )
        low = round(unit * attended)
        high = (unit - low) // 2
        self.deal = Deal((low, high, high), channels)
        # The name says the share: of another one, the same channels mean other things.
        self.paths = nn.ModuleDict(
            {
                f"attended_{low}": LowPath(units, low, channels, pool),
                f"convolved_{high}": ConvPath(units * high, channels, activation),
                f"maximum_{high}": MaxPath(units * high, channels, activation),
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        given = zip(self.paths.values(), self.deal.split(x), strict=True)
        low, convolved, maximum = (path(part) for path, part in given)
        return low + convolved + maximum


class Fused(nn.Module):
    """Its share of the end: x plus a depthwise 3x3 convolution of it, then 1x1 to all channels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.spatial = ConvNorm(inputs, inputs, 3, groups=inputs)
        self.project = ConvNorm(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.project(x + self.spatial(x))
        return mixed


class ConvPath(nn.Module):
    """Twice as wide, a depthwise 3x3 convolution, an activation, and its share of the end."""

    def __init__(self, inputs: int, outputs: int, activation: str) -> None:
        super().__init__()
        self.expand = ConvNorm(inputs, 2 * inputs)
        self.convolve = ConvNorm(2 * inputs, 2 * inputs, 3, groups=2 * inputs, activation=activation)
        self.fused = Fused(2 * inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.fused(self.convolve(self.expand(x)))
        return mixed


class MaxPath(nn.Module):
    """The maximum over 3x3, twice as wide, an activation, and its share of the end."""

    def __init__(self, inputs: int, outputs: int, activation: str) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(3, stride=1, padding=1)
        self.expand = ConvNorm(inputs, 2 * inputs)
        self.act = ACTIVATIONS[activation]()
        self.fused = Fused(2 * inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.fused(self.act(self.expand(self.pool(x))))
        return mixed


class LowPath(nn.Module):
    """Attention on averages of squares, spread out again, and its share of the end."""

    def __init__(self, heads: int, head_channels: int, outputs: int, pool: int) -> None:
        super().__init__()
        channels = heads * head_channels
        self.head_channels = head_channels
        square = nn.AvgPool2d(pool, ceil_mode=True, count_include_pad=False)
        self.pool = square if pool > 1 else nn.Identity()
        self.q = ConvNorm(channels, channels)
        self.k = ConvNorm(channels, channels)
        self.v = ConvNorm(channels, channels)
        self.attend = Attend(heads, head_channels)
        self.fused = Fused(channels, outputs)

    def forward(self, x: Tensor) -> Tensor:
        fewer, size = self.pool(x), self.head_channels
        mixed = over(self.q(fewer), self.k(fewer), self.v(fewer), self.attend, size, size)
        found: Tensor = self.fused(spread_out(mixed, x))
        return found


def spread_out(x: Tensor, like: Tensor) -> Tensor:
    """A small map, each value at all positions of its square, in the size of another map."""
    if x.shape[2:] == like.shape[2:]:
        return x
    return functional.interpolate(x, size=like.shape[2:], mode="nearest")


fx.wrap("spread_out")  # whoever folds norms traces without sizes


register_mixer(
    Mixer(
        name="inception_attention",
        make=InceptionAttention,
        choices=(ATTENDED,),
        channel_multiple="unit",
    )
)
