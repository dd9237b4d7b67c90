"""How a map is cut into groups of positions, inside which heads attend: windows, stripes, grids, dilation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

APART = -1e4
"""What is added to the logit of two positions that don't see each other; the exponential of it is 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """How one side of a map is cut.

    Attributes:
        size: positions of the side.
        groups: number of groups along it.
        length: positions of a group along it; ``groups * length`` is ``size`` or more, and what is beyond the
            map is seen by none.
        spread: whether a group takes every ``groups``-th position and not adjacent ones.
        shift: positions by which groups begin later; those that a group wraps around the end are apart.
    """

    size: int
    groups: int
    length: int
    spread: bool = False
    shift: int = 0

    @property
    def padding(self) -> int:
        """Positions beyond the map."""
        return self.groups * self.length - self.size


def adjacent(size: int, longest: int, *, shifted: bool = False) -> Side:
    """Groups of adjacent positions, all of one length: as few as can be, and then as short as can be.

    Args:
        size: positions of the side.
        longest: most positions of a group.
        shifted: whether groups begin half a group later (Swin's shift). One group alone isn't shifted.
    """
    groups = -(-size // longest)
    length = -(-size // groups)
    return Side(size=size, groups=groups, length=length, shift=length // 2 if shifted and groups > 1 else 0)


def spread(size: int, interval: int) -> Side:
    """Groups that take every ``interval``-th position; every position is a group where it is the side."""
    groups = min(interval, size)
    return Side(size=size, groups=groups, length=-(-size // groups), spread=True)


def grid(size: int, longest: int) -> Side:
    """Groups of positions as far apart as can be, at most ``longest`` of them."""
    return spread(size, -(-size // longest))


@dataclass(frozen=True, slots=True)
class Partition:
    """How a map is cut: its rows, and its columns."""

    rows: Side
    columns: Side

    @property
    def positions(self) -> int:
        """Positions of a group."""
        return self.rows.length * self.columns.length

    def split(self, x: Tensor) -> Tensor:
        """Positions by group: (B, C, H, W) -> (B groups, C, positions of a group)."""
        batch, rows, columns = x.shape[0], self.rows, self.columns
        if rows.padding or columns.padding:
            x = functional.pad(x, (0, columns.padding, 0, rows.padding))
        for dim, side in ((2, rows), (3, columns)):
            if side.shift:
                x = torch.roll(x, -side.shift, dim)
        x = x.reshape(batch, -1, *_order(rows), *_order(columns))
        x = x.permute(0, 2 + rows.spread, 4 + columns.spread, 1, 3 - rows.spread, 5 - columns.spread)
        return x.reshape(batch * rows.groups * columns.groups, -1, self.positions)

    def join(self, x: Tensor) -> Tensor:
        """Back again: (B groups, C, positions of a group) -> (B, C, H, W)."""
        channels, rows, columns = x.shape[1], self.rows, self.columns
        x = x.reshape(-1, rows.groups, columns.groups, channels, rows.length, columns.length)
        axes = (*((4, 1) if rows.spread else (1, 4)), *((5, 2) if columns.spread else (2, 5)))
        x = x.permute(0, 3, *axes)
        x = x.reshape(-1, channels, rows.groups * rows.length, columns.groups * columns.length)
        for dim, side in ((2, rows), (3, columns)):
            if side.shift:
                x = torch.roll(x, side.shift, dim)
        if rows.padding or columns.padding:
            x = x[:, :, : rows.size, : columns.size]
        return x

    def mask(self, like: Tensor) -> Tensor | None:
        """What is added to the logits of a group: (groups, 1, positions or 1, positions), or None for
        nothing.

        It has positions times positions of a group numbers where groups are shifted, and else one a position.
        """
        found = _mask(self)
        return None if found is None else torch.from_numpy(found).to(like)


@dataclass(frozen=True, slots=True)
class Windows:
    """Cuts maps into windows of adjacent positions, of one size, whose sides are at most ``longest``."""

    longest: int
    shifted: bool = False

    def __call__(self, height: int, width: int) -> Partition:
        """The partition of a map of that size."""
        rows, columns = (adjacent(side, self.longest, shifted=self.shifted) for side in (height, width))
        return Partition(rows, columns)


@dataclass(frozen=True, slots=True)
class Grids:
    """Cuts maps into groups of positions as far apart as can be, at most ``longest`` along a side."""

    longest: int

    def __call__(self, height: int, width: int) -> Partition:
        """The partition of a map of that size."""
        return Partition(grid(height, self.longest), grid(width, self.longest))


def _order(side: Side) -> tuple[int, int]:
    """The two factors of a side as they lie in memory."""
    return (side.length, side.groups) if side.spread else (side.groups, side.length)


@lru_cache(maxsize=256)
def _mask(partition: Partition) -> NDArray[np.float32] | None:
    """The mask in numpy: a constant for whoever traces a network, and of no mode of autograd."""
    rows, columns = _parts(partition.rows), _parts(partition.columns)
    parts = np.where(
        (rows[:, None, :, None] < 0) | (columns[None, :, None, :] < 0),
        -1,
        2 * rows[:, None, :, None] + columns[None, :, None, :],
    ).reshape(-1, partition.positions)
    seen = (parts >= 0)[:, None, None, :]
    if (parts > 0).any():
        seen = seen & (parts[:, None, :, None] == parts[:, None, None, :])
    return None if seen.all() else np.where(seen, 0, APART).astype(np.float32)


def _parts(side: Side) -> NDArray[np.int64]:
    """(groups, length): 0 for a position, 1 for one that came around the end, -1 for one beyond the map."""
    whole = side.groups * side.length
    at = (np.arange(whole) + side.shift) % whole
    parts = np.where(at >= side.size, -1, np.where(np.arange(whole) >= whole - side.shift, 1, 0))
    return parts.reshape(side.length, side.groups).T if side.spread else parts.reshape(-1, side.length)
