"""Streams of one to several light convolutions, weighed by one gate that all share, and summed.

"Learning Generalisable Omni-Scale Representations for Person Re-Identification" (Zhou et al., TPAMI 2021),
and "Omni-Scale Feature Learning" (ICCV 2019), section 3: a stream of t convolutions sees 2t + 1 pixels. Left
out is the norm over each image, whose places that paper searches for; the gate's hidden layer is a quarter
as wide as a stream, at least four, where the paper has a sixteenth.
"""

from __future__ import annotations

from torch import Tensor, nn

from search_spaces.choice import Choice
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import ConvNorm, Positive

REDUCTION = 4
LEAST_HIDDEN = 4


class OmniScale(nn.Module):
    """project(sum of gate(stream_t(reduce(x))) over t), (B, C, H, W) -> (B, C, H, W).

    Args:
        channels: C, a multiple of four.
        activation: name of the activation after the first convolution and after each light one.
        streams: number of streams; the t-th has t light convolutions.
    """

    def __init__(self, channels: int, *, activation: str, streams: Positive) -> None:
        super().__init__()
        inner = channels // REDUCTION
        self.reduce = ConvNorm(channels, inner, activation=activation)
        self.streams = nn.ModuleList(
            nn.Sequential(*(LightConv(inner, activation) for _ in range(depth)))
            for depth in range(1, streams + 1)
        )
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(inner, max(LEAST_HIDDEN, inner // REDUCTION), 1),
            nn.ReLU(),
            nn.Conv2d(max(LEAST_HIDDEN, inner // REDUCTION), inner, 1),
            nn.Sigmoid(),
        )
        self.project = ConvNorm(inner, channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.reduce(x)
        total = None
        for stream in self.streams:
            y = stream(x)
            weighed = y * self.gate(y)
            total = weighed if total is None else total + weighed
        mixed: Tensor = self.project(total)
        return mixed


class LightConv(nn.Sequential):
    """A 1x1 convolution, a depthwise 3x3 one, norm and activation."""

    def __init__(self, channels: int, activation: str) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels, channels, 1, bias=False)
        self.depthwise = ConvNorm(channels, channels, 3, groups=channels, activation=activation)


register_mixer(
    Mixer(
        name="omni_scale",
        make=OmniScale,
        choices=(Choice("streams", (2, 3, 4), role="depth"),),
        channel_multiple=REDUCTION,
    )
)
