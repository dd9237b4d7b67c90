"""Operators exchanged for cheaper ones that learn from them; importing this makes their kinds known."""

from __future__ import annotations

from compress.swaps.kinds import ChannelNorm, by_batch, narrow, separable
from compress.swaps.swap import SWAPS, Swap, swapped

__all__ = ["SWAPS", "ChannelNorm", "Swap", "by_batch", "narrow", "separable", "swapped"]
