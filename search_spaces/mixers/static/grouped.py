"""A convolution in groups of a fixed number of channels.

"E2GC: Energy-efficient Group Convolution in Deep Neural Networks" (Jha et al., VLSI Design 2020): the width
of a group is fixed, and not their number, so that arithmetic and data moved stay in balance at any width.
Its model of the best width by energy is left out: the width is a choice, which the search decides by what a
device measures.
"""

from __future__ import annotations

from torch import nn

from search_spaces.choice import Choice
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import KERNEL, ConvNorm, OddSize, Positive, groups_name


class GroupedConv(nn.Sequential):
    """Grouped kernel x kernel convolution, norm, activation; (B, C, H, W) -> (B, C, H, W).

    Args:
        channels: C, a multiple of the group width.
        activation: name of the activation after the norm.
        group_width: channels of a group.
        kernel: side of the kernel in pixels, odd.
    """

    def __init__(self, channels: int, *, activation: str, group_width: Positive, kernel: OddSize) -> None:
        super().__init__()
        groups = channels // group_width
        conv = ConvNorm(channels, channels, kernel, groups=groups, activation=activation)
        self.add_module(groups_name(group_width, groups), conv)


register_mixer(
    Mixer(
        name="grouped_conv",
        make=GroupedConv,
        choices=(Choice("group_width", (4, 8, 16)), KERNEL),
        channel_multiple="group_width",
    )
)
