"""A gated linear unit: one projection weighs another."""

from __future__ import annotations

from torch import Tensor, nn

from search_spaces.channel_mixers.registry import ChannelMixer, register_channel_mixer
from search_spaces.choice import Choice
from search_spaces.parts import ACTIVATIONS, ConvNorm, OddSize


class GatedLinear(nn.Module):
    """project(act(gate(x)) * value(x)), (B, C, H, W) -> (B, C, H, W).

    "GLU Variants Improve Transformer" (Shazeer, 2020), equation 6; with a kernel over 1 a depthwise
    convolution stands on the gate before the activation: the convolutional GLU of TransNeXt (Shi, CVPR 2024,
    section 3.3). Gate and value are two convolutions, so that the leading channels of each are those of a
    narrower network. At one ratio it has half as many multiply-accumulates again as the MLP; papers give it
    two thirds of the ratio.

    Args:
        channels: C.
        ratio: hidden channels over C.
        activation: name of the activation of the gate.
        kernel: side of the depthwise kernel in pixels, odd; 1 for none.
    """

    def __init__(self, channels: int, *, ratio: float, activation: str, kernel: OddSize) -> None:
        super().__init__()
        hidden = round(channels * ratio)
        self.gate = ConvNorm(channels, hidden)
        self.depthwise = ConvNorm(hidden, hidden, kernel, groups=hidden) if kernel > 1 else nn.Identity()
        self.act = ACTIVATIONS[activation]()
        self.value = ConvNorm(channels, hidden)
        self.project = ConvNorm(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        gate: Tensor = self.act(self.depthwise(self.gate(x)))
        result: Tensor = self.project(gate * self.value(x))
        return result


register_channel_mixer(
    ChannelMixer(name="glu", make=GatedLinear, choices=(Choice("kernel", (1, 3), role="kernel"),))
)
