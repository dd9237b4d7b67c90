"""A depthwise convolution, modulated by its own low and high frequencies in a fixed balance.

"SPANet: Frequency-balancing Token Mixer using Spectral Pooling Aggregation Modulation" (Yun et al., ICCV
2023), section 3.3. The balances of its three groups of channels (0.7, 0.8, 0.9 for what is low) are dealt
out by eights, as which group a channel is in may not depend on the width. What is low is computed from the
frequencies inside the radius alone, of which there are few. Norms follow the convolutions that they fold
into.
"""

from __future__ import annotations

from torch import Tensor, fx, nn

from search_spaces.choice import Choice
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.mixers.spectral.matrices import fourier
from search_spaces.parts import ConvNorm, OddSize, Positive

fx.wrap("fourier")  # whoever folds norms traces without sizes

LOW = (0.7, 0.7, 0.7, 0.8, 0.8, 0.8, 0.9, 0.9)
"""Share of the low frequencies, of each of eight channels; that of the high is the rest."""


class FrequencyBalance(nn.Module):
    """project(y * gather(low(y) * share + high(y) * (1 - share))), y the convolved x; keeps (B, C, H, W).

    Args:
        channels: C, a multiple of eight.
        radius: highest frequency that is low, in periods a map.
        strip: pixels of the depthwise row and column that y is made with, odd.
    """

    def __init__(self, channels: int, *, radius: Positive, strip: OddSize = 7) -> None:
        super().__init__()
        self.radius = radius
        self.enter = ConvNorm(channels, channels)
        self.row = ConvNorm(channels, channels, (1, strip), groups=channels)
        self.column = ConvNorm(channels, channels, (strip, 1), groups=channels)
        self.gather = ConvNorm(channels, channels)
        self.project = ConvNorm(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.column(self.row(self.enter(x)))
        transform = fourier(y, self.radius)
        real, imaginary = transform.forth(y)
        low = transform.back(real * transform.inside, imaginary * transform.inside)
        return self.project(y * self.gather(balanced(low, y - low)))


def balanced(low: Tensor, high: Tensor) -> Tensor:
    """Low and high frequencies (B, C, H, W) in the balance of each channel, summed."""
    batch, _, height, width = low.shape
    share = low.new_tensor(LOW).reshape(len(LOW), 1, 1)
    low, high = (part.reshape(batch, -1, len(LOW), height, width) for part in (low, high))
    return (low * share + high * (1 - share)).reshape(batch, -1, height, width)


fx.wrap("balanced")

register_mixer(
    Mixer(
        name="spam",
        make=FrequencyBalance,
        choices=(Choice("radius", (1, 2, 4), role="kernel"),),
        channel_multiple=len(LOW),
    )
)
