"""Involution: a kernel for every position, made of the channels there and shared by those of a group."""

from __future__ import annotations

from torch import Tensor, nn

from search_spaces.mixers.dynamic.windowed import Taps, windowed
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import ACTIVATIONS, KERNEL, ConvNorm, OddSize, Positive


class Involution(nn.Module):
    """A sum over a window with weights W1 relu(W0 x) of each position, (B, C, H, W) -> (B, C, H, W).

    "Involution: Inverting the Inherence of Convolution for Visual Recognition" (Li et al., CVPR 2021),
    section 3. BatchNorm and activation stand behind it, as in the paper's RedNet; the norm is not folded,
    as there are no weights to fold it into.

    Args:
        channels: C, a multiple of ``group_channels``.
        activation: name of the activation after the norm.
        kernel: side of the window in pixels, odd.
        group_channels: channels that share a kernel.
        reduction: channels over those between the two layers that make the kernels.

    Raises:
        ValueError: a width that is no multiple of the group's.
    """

    def __init__(
        self,
        channels: int,
        *,
        activation: str,
        kernel: OddSize,
        group_channels: Positive = 8,
        reduction: Positive = 4,
    ) -> None:
        super().__init__()
        groups, rest = divmod(channels, group_channels)
        if rest:
            raise ValueError(
                f"involution needs a width that is a multiple of {group_channels}, got {channels}"
            )
        hidden = max(1, channels // reduction)
        self.kernel, self.group_channels = kernel, group_channels
        self.reduce = ConvNorm(channels, hidden, activation="relu")
        self.taps = Taps(hidden, groups, kernel)
        self.norm = nn.BatchNorm2d(channels)
        self.act = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        weights = self.taps(self.reduce(x))  # (B, groups, kernel^2, H, W)
        result: Tensor = self.act(self.norm(windowed(x, weights, self.kernel, self.group_channels)))
        return result


register_mixer(
    Mixer(name="involution", make=Involution, choices=(KERNEL,), channel_multiple="group_channels")
)
