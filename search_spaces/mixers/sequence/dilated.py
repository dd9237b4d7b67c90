"""A row of depthwise convolutions whose dilation grows: temporal convolutional networks."""

from __future__ import annotations

from torch import nn

from search_spaces.choice import Choice
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.mixers.sequence.raster import Raster
from search_spaces.parts import ACTIVATIONS, OddSize, Positive


class Dilated(Raster):
    """Depthwise convolutions along the positions, each growth times as dilated as the one before.

    "Efficient neural networks for real-time modeling of analog dynamic range compression" (Steinmetz and
    Reiss, AES 2022), section 2: dilations that grow quickly reach far with few layers. There the growth is
    ten, layers are dense and each has a shortcut; here channels are mixed by the block's MLP, and the
    shortcut is the block's. (B, C, H, W) -> (B, C, H, W).

    Args:
        channels: C.
        activation: name of the activation after each norm.
        growth: dilation of a layer over that of the one before.
        layers: convolutions in a row.
        taps: positions of a kernel, odd.
    """

    def __init__(
        self, channels: int, *, activation: str, growth: Positive, layers: Positive, taps: OddSize = 3
    ) -> None:
        inner = nn.Sequential()
        for layer in range(layers):
            dilation = growth**layer
            convolution = nn.Sequential()
            convolution.add_module(
                "conv",
                nn.Conv2d(
                    channels,
                    channels,
                    (1, taps),
                    padding=(0, dilation * (taps // 2)),
                    dilation=(1, dilation),
                    groups=channels,
                    bias=False,
                ),
            )
            convolution.add_module("norm", nn.BatchNorm2d(channels))
            convolution.add_module("act", ACTIVATIONS[activation]())
            # Named by its place and its dilation: others mean other things.
            inner.add_module(f"layer{layer}_of_{dilation}", convolution)
        super().__init__(inner)


register_mixer(
    Mixer(
        name="dilated",
        make=Dilated,
        choices=(Choice("growth", (2, 3, 4), role="kernel"), Choice("layers", (2, 3), role="depth")),
    )
)
