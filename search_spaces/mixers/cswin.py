"""Self-attention inside stripes: rows of the map for half of the heads, columns for the other half.

"CSWin Transformer: A General Vision Transformer Backbone with Cross-Shaped Windows" (Dong et al., CVPR 2022),
section 3.2, and with ``local`` its locally enhanced positional encoding (section 3.3). Queries, keys and
values are normalised convolutions as in our plain attention, and so is that encoding. The paper joins all
heads and projects them once; here rows and columns have a projection each, whose sum is the same map but for
the norms. So each half is an attention of its own: its heads can be pruned whole, and the leading heads of a
wider network are those of a narrower.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from search_spaces.choice import Choice, Value
from search_spaces.mixers.attention.heads import HeadChannels
from search_spaces.mixers.attention.partition import Partition, adjacent
from search_spaces.mixers.attention.region import PartitionOf, Regional
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import Positive


class CrossStripe(Regional):
    """Attention in stripes of rows plus attention in stripes of columns, (B, C, H, W) -> (B, C, H, W).

    Args:
        channels: C, a multiple of ``head_channels``.
        stripe: rows, or columns, of a stripe. Where a map's side is no multiple of it, or is smaller, the
            largest divisor of the side below it takes its place.
        head_channels: channels of a head. Heads alternate: with an odd number of them, rows have one more.
        local: whether a depthwise 3x3 convolution of the values inside their stripe is added.

    Raises:
        ValueError: a width that is no multiple of the head's.
    """

    def __init__(
        self, channels: int, *, stripe: Positive, head_channels: HeadChannels = 16, local: bool = False
    ) -> None:
        partitions: dict[str, PartitionOf] = {"rows": OfRows(stripe), "columns": OfColumns(stripe)}
        super().__init__(channels, partitions, name="cswin", head_channels=head_channels, local=local)
        self.stripe = stripe


@dataclass(frozen=True, slots=True)
class OfRows:
    """Cuts maps into stripes of whole rows."""

    stripe: int

    def __call__(self, height: int, width: int) -> Partition:
        """The partition of a map of that size."""
        return Partition(adjacent(height, fitting(height, self.stripe)), adjacent(width, width))


@dataclass(frozen=True, slots=True)
class OfColumns:
    """Cuts maps into stripes of whole columns."""

    stripe: int

    def __call__(self, height: int, width: int) -> Partition:
        """The partition of a map of that size."""
        return Partition(adjacent(height, height), adjacent(width, fitting(width, self.stripe)))


def fitting(side: int, stripe: int) -> int:
    """The largest divisor of a map's side that is no wider than the stripe."""
    return next(rows for rows in range(min(stripe, side), 0, -1) if side % rows == 0)


def acting(values: Mapping[str, Value], shape: tuple[int, ...]) -> Mapping[str, Value]:
    """The narrowest stripe that partitions a map of that shape (C, H, W) as the given one does."""
    _, height, width = shape
    stripe = int(values["stripe"])
    return {**values, "stripe": max(fitting(height, stripe), fitting(width, stripe))}


register_mixer(
    Mixer(
        name="cswin",
        make=CrossStripe,
        choices=(Choice("stripe", (1, 2, 4), role="kernel"),),
        channel_multiple="head_channels",
        acting=acting,
    )
)
