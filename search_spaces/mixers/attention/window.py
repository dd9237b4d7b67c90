"""Attention inside windows, at once in two phases of windows, or among positions of a grid.

"Swin Transformer: Hierarchical Vision Transformer using Shifted Windows" (Liu et al., ICCV 2021), section
3.2; with ``logits = "cosine"`` and ``bias = "log"`` the attention of its second version (CVPR 2022). Its
table of biases is left out: those of a window of another size would be other weights. "StyleSwin" (Zhang et
al., CVPR 2022), section 3.2: half of the heads in windows, half in shifted ones. "MaxViT: Multi-Axis Vision
Transformer" (Tu et al., ECCV 2022), section 3.2: the grid, which is also the dilated attention of D-Former
(Wu et al., 2022) and with ``bias = "offset"`` the long-distance attention of CrossFormer (Wang et al., ICLR
2022), whose short-distance attention is the window. With ``head_channels = 1`` every channel has weights of
its own: depthwise attention (Zhou et al., 2023, "Interpret Vision Transformers as ConvNets with Dynamic
Convolutions").

Where a side is no multiple of the window, the papers pad it to the next. Here it is cut into as many windows
as that takes, as short as can be, so that as little as can be is padded; what is padded is seen by none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from search_spaces.choice import Choice, Value
from search_spaces.mixers.attention.heads import HEAD_CHANNELS, HeadChannels, Logits, Weights
from search_spaces.mixers.attention.partition import Grids, Windows, adjacent, grid
from search_spaces.mixers.attention.region import Bias, Regional
from search_spaces.mixers.registry import Mixer, register_mixer

Positions = Annotated[int, Field(ge=1)]
"""Positions along one side."""

WINDOW = Choice("window", (4, 8), role="kernel")
"""Longest side of a group of positions, as a choice of mixers; those of one block share it."""


def window_attention(
    channels: int,
    *,
    window: Positions,
    shift: bool,
    head_channels: HeadChannels = HEAD_CHANNELS,
    logits: Logits = "dot",
    weights: Weights = "softmax",
    bias: Bias = "log",
) -> Regional:
    """Attention inside windows of adjacent positions, (B, C, H, W) -> (B, C, H, W); Swin's, CrossFormer's
    near one.

    Args:
        channels: C, a multiple of ``head_channels``.
        window: longest side of a window; a map is cut into as few as that allows, all of one size.
        shift: whether windows begin half a window later; one window alone isn't shifted.
        head_channels: channels of a head; 1 is depthwise attention, whose weights are ``channels`` a pair.
        logits: likeness of a query and a key: ``dot``, or ``cosine`` times a learned scale (Swin V2).
        weights: ``softmax`` of the logits, or their ``relu`` with a norm after the sum.
        bias: bias of position: ``none``, ``log`` (Swin V2) or ``offset`` (CrossFormer).

    Raises:
        ValueError: a width that is no multiple of the head's.
    """
    partitions = {"heads": Windows(window, shifted=shift)}
    how = {"logits": logits, "weights": weights, "bias": bias}
    return Regional(channels, partitions, name="window", head_channels=head_channels, **how)


def double_window_attention(
    channels: int,
    *,
    window: Positions,
    head_channels: HeadChannels = HEAD_CHANNELS,
    logits: Logits = "dot",
    weights: Weights = "softmax",
    bias: Bias = "log",
) -> Regional:
    """Half of the heads in windows and half in shifted ones, (B, C, H, W) -> (B, C, H, W); StyleSwin's.

    Args:
        channels: C, a multiple of ``head_channels``.
        window: longest side of a window; a map is cut into as few as that allows, all of one size.
        head_channels: channels of a head. Heads alternate: with an odd number of them, one fewer is shifted.
        logits: likeness of a query and a key: ``dot``, or ``cosine`` times a learned scale (Swin V2).
        weights: ``softmax`` of the logits, or their ``relu`` with a norm after the sum.
        bias: bias of position: ``none``, ``log`` (Swin V2) or ``offset`` (CrossFormer).

    Raises:
        ValueError: a width that is no multiple of the head's.
    """
    partitions = {
        "heads": Windows(window),
        "shifted": Windows(window, shifted=True),
    }
    how = {"logits": logits, "weights": weights, "bias": bias}
    return Regional(channels, partitions, name="double_window", head_channels=head_channels, **how)


def grid_attention(
    channels: int,
    *,
    window: Positions,
    head_channels: HeadChannels = HEAD_CHANNELS,
    logits: Logits = "dot",
    weights: Weights = "softmax",
    bias: Bias = "log",
) -> Regional:
    """Attention among positions as far apart as can be, (B, C, H, W) -> (B, C, H, W); MaxViT's, CrossFormer's
    far one.

    Args:
        channels: C, a multiple of ``head_channels``.
        window: most positions of a group along a side; their distance is the side over it, rounded up.
        head_channels: channels of a head; 1 is depthwise attention, whose weights are ``channels`` a pair.
        logits: likeness of a query and a key: ``dot``, or ``cosine`` times a learned scale (Swin V2).
        weights: ``softmax`` of the logits, or their ``relu`` with a norm after the sum.
        bias: bias of position: ``none``, ``log`` (Swin V2) or ``offset`` (CrossFormer).

    Raises:
        ValueError: a width that is no multiple of the head's.
    """

    partitions = {"heads": Grids(window)}
    how = {"logits": logits, "weights": weights, "bias": bias}
    return Regional(channels, partitions, name="grid", head_channels=head_channels, **how)


def acting(values: Mapping[str, Value], shape: tuple[int, ...]) -> Mapping[str, Value]:
    """The smallest window that partitions a map of that shape (C, H, W) alike; no shift where it changes
    nothing."""
    window = int(values["window"])
    sides = [adjacent(side, window, shifted=bool(values.get("shift"))) for side in shape[1:]]
    found = {**values, "window": max(side.length for side in sides)}
    if "shift" in values:
        found["shift"] = any(side.shift for side in sides)
    return found


def acting_grid(values: Mapping[str, Value], shape: tuple[int, ...]) -> Mapping[str, Value]:
    """The smallest side of a group that makes the same grid of a map of that shape (C, H, W)."""
    return {**values, "window": max(grid(side, int(values["window"])).length for side in shape[1:])}


SHIFT = Choice("shift", (False, True), role="category")

for _name, _make, _choices, _acting in (
    ("window", window_attention, (WINDOW, SHIFT), acting),
    ("double_window", double_window_attention, (WINDOW,), acting),
    ("grid", grid_attention, (WINDOW,), acting_grid),
):
    register_mixer(
        Mixer(name=_name, make=_make, choices=_choices, channel_multiple="head_channels", acting=_acting)
    )
