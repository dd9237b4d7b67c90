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

    @property
    def padded(self) -> bool:
        """Whether groups have positions beyond the map."""
        return bool(self.rows.padding or self.columns.padding)

    def arrange(self, x: Tensor) -> Tensor:
        """A map with the positions of a group side by side, (B, C, H, W) -> (B, C, groups, positions of one).

        What mixes no positions computes the same on it. Where groups reach beyond the map it stays as it is,
        so that norms see the map alone, and ``split`` arranges it.
        """
        return x if self.padded else self._arranged(x)

    def restore(self, x: Tensor) -> Tensor:
        """The reverse of ``arrange``."""
        return x if self.padded else self._restored(x)

    def split(self, x: Tensor) -> Tensor:
        """Positions by group, of an arranged map (B, C, ., .) -> (B groups, C, positions of a group)."""
        if self.padded:
            x = self._arranged(x)
        return x.transpose(1, 2).reshape(-1, x.shape[1], self.positions)

    def join(self, x: Tensor) -> Tensor:
        """The reverse of ``split``."""
        groups = self.rows.groups * self.columns.groups
        x = x.reshape(-1, groups, x.shape[1], self.positions).transpose(1, 2)
        return self._restored(x) if self.padded else x

    def _arranged(self, x: Tensor) -> Tensor:
        rows, columns = self.rows, self.columns
        if self.padded:
            x = functional.pad(x, (0, columns.padding, 0, rows.padding))
        for dim, side in ((2, rows), (3, columns)):
            if side.shift:
                x = torch.roll(x, -side.shift, dim)
        sizes, order = self._axes
        x = x.reshape(-1, x.shape[1], *sizes)
        if order != sorted(order):
            x = x.permute(0, 1, *(2 + axis for axis in order))
        return x.reshape(-1, x.shape[1], rows.groups * columns.groups, self.positions)

    def _restored(self, x: Tensor) -> Tensor:
        rows, columns = self.rows, self.columns
        sizes, order = self._axes
        x = x.reshape(-1, x.shape[1], *(sizes[axis] for axis in order))
        if order != sorted(order):
            x = x.permute(0, 1, *(2 + order.index(axis) for axis in range(len(order))))
        x = x.reshape(-1, x.shape[1], rows.groups * rows.length, columns.groups * columns.length)
        for dim, side in ((2, rows), (3, columns)):
            if side.shift:
                x = torch.roll(x, side.shift, dim)
        return x[:, :, : rows.size, : columns.size] if self.padded else x

    @property
    def _axes(self) -> tuple[list[int], list[int]]:
        """Sizes of the axes that a map's sides fall into, and which of them come first where groups do.

        Axes of one position are left out: moving them is no work, but no runtime knows.
        """
        sizes = (*_order(self.rows), *_order(self.columns))
        groups = [0 + self.rows.spread, 2 + self.columns.spread]
        lengths = [1 - self.rows.spread, 3 - self.columns.spread]
        kept = [axis for axis in range(4) if sizes[axis] > 1] or [0]
        order = [kept.index(axis) for axis in (*groups, *lengths) if axis in kept]
        return [sizes[axis] for axis in kept], order

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
