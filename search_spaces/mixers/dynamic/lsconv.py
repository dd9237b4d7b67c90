"""LS convolution: a large window sees, a small one is weighed by what was seen."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from search_spaces.choice import Choice
from search_spaces.mixers.dynamic.windowed import Taps, windowed
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import ConvNorm, OddSize, Positive


class LargeSmall(nn.Module):
    """A sum over a small window with weights made of a large one, (B, C, H, W) -> (B, C, H, W).

    "LSNet: See Large, Focus Small" (Wang et al., CVPR 2025), section 3.2: 1x1 to half of the channels,
    depthwise of the large window, 1x1, and 1x1 to the small window's weights of each group, normalised by
    group; then the weighted sum and a norm. The shortcut is the block's. In the public code channel c takes
    the weights of group c mod (C / 8); here groups are neighbouring channels, so that the groups of a
    narrower network are the leading ones of a wider (the prefix rule).

    Args:
        channels: C, a multiple of ``group_channels``.
        see: side of the large window in pixels, odd.
        focus: side of the small window in pixels, odd.
        group_channels: channels that share weights.

    Raises:
        ValueError: a width that is no multiple of the group's.
    """

    def __init__(self, channels: int, *, see: OddSize, focus: OddSize, group_channels: Positive = 8) -> None:
        super().__init__()
        groups, rest = divmod(channels, group_channels)
        if rest:
            raise ValueError(f"lsconv needs a width that is a multiple of {group_channels}, got {channels}")
        hidden = max(1, channels // 2)
        self.focus, self.group_channels = focus, group_channels
        self.reduce = ConvNorm(channels, hidden, activation="relu")
        self.look = ConvNorm(hidden, hidden, see, groups=hidden)
        self.mix = ConvNorm(hidden, hidden, activation="relu")
        self.taps = Taps(hidden, groups, focus)
        self.normalise = WindowNorm(groups, focus)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.normalise(self.taps(self.mix(self.look(self.reduce(x)))))
        result: Tensor = self.norm(windowed(x, weights, self.focus, self.group_channels))
        return result


class WindowNorm(nn.Module):
    """Group normalisation of the weights of windows, (B, groups, kernel^2, H, W), each group by itself."""

    centre_dims: ClassVar = {"weight": (1, 2), "bias": (1, 2)}

    def __init__(self, groups: int, kernel: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(groups, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(groups, kernel, kernel))

    def forward(self, weights: Tensor) -> Tensor:
        normal = nn.functional.group_norm(weights.flatten(1, 2), self.weight.shape[0])
        scale, shift = (one.flatten()[:, None, None] for one in (self.weight, self.bias))
        return (normal * scale + shift).unflatten(1, (self.weight.shape[0], -1))


register_mixer(
    Mixer(
        name="lsconv",
        make=LargeSmall,
        choices=(Choice("see", (5, 7, 9), role="kernel"), Choice("focus", (3, 5), role="kernel")),
        channel_multiple="group_channels",
    )
)
