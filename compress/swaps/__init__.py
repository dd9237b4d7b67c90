"""Operators exchanged for cheaper ones that learn from them; importing this makes their kinds known."""

from __future__ import annotations

from compress.swaps.factors import left_out, two_layers
from compress.swaps.kinds import ChannelNorm, by_batch, narrow, separable
from compress.swaps.merging import merged_form
from compress.swaps.swap import SWAPS, Swap, swapped

__all__ = [
    "SWAPS",
    "ChannelNorm",
    "Swap",
    "by_batch",
    "left_out",
    "merged_form",
    "narrow",
    "separable",
    "swapped",
    "two_layers",
]
