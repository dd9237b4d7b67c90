"""An MLP with a depthwise convolution on its hidden channels."""

from __future__ import annotations

from torch import Tensor, nn

from search_spaces.channel_mixers.registry import ChannelMixer, register_channel_mixer
from search_spaces.choice import Choice
from search_spaces.gates.registry import GateName, gated
from search_spaces.parts import ConvNorm, OddSize


class SpatialMlp(nn.Module):
    """project(h + act(depthwise(h))) with h = act(expand(x)), (B, C, H, W) -> (B, C, H, W).

    "Bridging the Gap Between Vision Transformers and Convolutional Neural Networks on Small Datasets" (Lu et
    al., NeurIPS 2022), section 3.3. There the means of all positions weigh the class token; networks here
    have none, so the gate ``se`` weighs every position by them, where one is chosen. The feed-forward of
    CFSR (Wu et al., 2024) has fixed edge kernels beside the depthwise one, left out here: folded, they are
    one kernel of the same size.

    Args:
        channels: C.
        ratio: hidden channels over C.
        activation: name of the activation.
        kernel: side of the depthwise kernel in pixels, odd.
        gate: gate of the hidden channels.
    """

    def __init__(
        self, channels: int, *, ratio: float, activation: str, kernel: OddSize, gate: GateName = "none"
    ) -> None:
        super().__init__()
        hidden = round(channels * ratio)
        self.expand = ConvNorm(channels, hidden, activation=activation)
        self.depthwise = ConvNorm(hidden, hidden, kernel, groups=hidden, activation=activation)
        self.weigh = nn.Sequential()
        for name, module in gated(gate, hidden).items():
            self.weigh.add_module(name, module)
        self.project = ConvNorm(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.expand(x)
        result: Tensor = self.project(self.weigh(hidden + self.depthwise(hidden)))
        return result


register_channel_mixer(
    ChannelMixer(
        name="conv_mlp",
        make=SpatialMlp,
        choices=(Choice("kernel", (3, 5), role="kernel"), Choice("gate", ("none", "se"))),
    )
)
