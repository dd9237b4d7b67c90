"""The layer in each place of a network, as a function of few choices, learned from examples.

Tracing a network takes milliseconds. What stands in one place of it (one convolution, one activation)
follows from two or three choices; once these are known, archs are looked up by the million.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from search_spaces.space import Rows

UNSEEN = -2  # a combination of values that no example had
EMPTY = -1  # nothing stands here


@dataclass(slots=True, kw_only=True)
class Place:
    """One place of a network.

    Attributes:
        columns: columns of the choices that decide.
        sizes: how many values each of them has.
        standing: what stands here by the combined index of their values.
    """

    columns: tuple[int, ...]
    sizes: tuple[int, ...]
    standing: dict[int, int] = field(default_factory=dict)

    def index(self, rows: Rows) -> Rows:
        """The combined index of each row, (n,)."""
        if not self.columns:
            return np.zeros(len(rows), dtype=np.int64)
        return np.asarray(np.ravel_multi_index(tuple(rows[:, c] for c in self.columns), self.sizes))

    def look_up(self, rows: Rows) -> Rows:
        """What stands here in each row, (n,): a layer's index, ``EMPTY`` or ``UNSEEN``."""
        index = self.index(rows)
        values, inverse = np.unique(index, return_inverse=True)
        return np.array([self.standing.get(int(v), UNSEEN) for v in values], dtype=np.int64)[inverse]


class Places:
    """Every place of a space's networks.

    Args:
        n_values: how many values each choice has.
        trace: what stands in each place of one row's network, by the place's name.
        rows: examples, (n, n choices); those in which a single choice moves help most.
        held_back: further examples that the places are tried on; those that are told wrong are learned from.
    """

    def __init__(
        self,
        n_values: Rows,
        trace: Callable[[Rows], dict[str, int]],
        rows: Rows,
        held_back: Rows,
    ) -> None:
        self._n_values, self._trace = n_values, trace
        self._places: dict[str, Place] = {}
        self._seen = np.zeros(
            (len(n_values), int(n_values.max())), dtype=bool
        )  # of each choice, which values
        self._rows, self._traced = np.empty((0, len(n_values)), dtype=np.int64), list[dict[str, int]]()
        self._learn(rows)
        wrong = np.array([not self._right(row, trace(row)) for row in held_back], dtype=bool)
        if wrong.any():
            self._learn(held_back[wrong])

    def look_up(self, rows: Rows) -> Rows:
        """The layers of each row, (n, n places); ``EMPTY`` where nothing stands."""
        while len(strange := np.flatnonzero(~self._seen[np.arange(rows.shape[1]), rows].all(axis=1))):
            self._learn(rows[strange[:1]])  # a value that no example had may change anything
        found = self._look_up(rows)
        while len(unseen := np.flatnonzero((found == UNSEEN).any(axis=1))):
            self._remember(rows[unseen[0]], self._trace(rows[unseen[0]]))  # often settles many rows
            found = self._look_up(rows)
        return found

    def _look_up(self, rows: Rows) -> Rows:
        if not self._places:
            return np.empty((len(rows), 0), dtype=np.int64)
        return np.column_stack([place.look_up(rows) for place in self._places.values()])

    def _right(self, row: Rows, traced: dict[str, int]) -> bool:
        told = dict(zip(self._places, self._look_up(row[None])[0].tolist(), strict=True))
        names = {*traced, *self._places}
        return all(told.get(name, EMPTY) in (traced.get(name, EMPTY), UNSEEN) for name in names)

    def _learn(self, rows: Rows) -> None:
        self._traced += [self._trace(row) for row in rows]
        self._rows = np.vstack([self._rows, rows])
        for row in rows:
            self._seen[np.arange(len(row)), row] = True
        names = list(dict.fromkeys(name for traced in self._traced for name in traced))
        for name in names:
            standing = np.array([traced.get(name, EMPTY) for traced in self._traced])
            columns = deciding(self._rows, standing)
            sizes = tuple(int(self._n_values[column]) for column in columns)
            place = Place(columns=columns, sizes=sizes)
            place.standing = dict(zip(place.index(self._rows).tolist(), standing.tolist(), strict=True))
            self._places[name] = place

    def _remember(self, row: Rows, traced: dict[str, int]) -> None:
        new = [name for name in traced if name not in self._places]
        if new:  # a place that no example had
            self._learn(row[None])
            return
        for name, place in self._places.items():
            place.standing.setdefault(int(place.index(row[None])[0]), traced.get(name, EMPTY))


def deciding(rows: Rows, standing: NDArray[np.int64]) -> tuple[int, ...]:
    """The fewest columns, as a greedy search finds them, that tell in all examples what stands in a place.

    Args:
        rows: (n, n choices), canonical and distinct.
        standing: what stands there, (n,).
    """
    chosen: list[int] = []
    group = np.zeros(len(rows), dtype=np.int64)
    while (wrong := _untold(group, standing)) > 0:
        left = [column for column in range(rows.shape[1]) if column not in chosen]
        if not left:
            break
        scores = [_untold(_split(group, rows[:, column]), standing) for column in left]
        if min(scores) == wrong:  # none helps alone: two together may
            scores = [-len(np.unique(_split(group, rows[:, column]))) for column in left]
        chosen.append(left[int(np.argmin(scores))])
        group = _split(group, rows[:, chosen[-1]])
    for column in list(chosen):  # an early choice may be made needless by later ones
        rest = [c for c in chosen if c != column]
        group = np.zeros(len(rows), dtype=np.int64)
        for c in rest:
            group = _split(group, rows[:, c])
        if _untold(group, standing) == 0:
            chosen = rest
    return tuple(sorted(chosen))


def _split(group: NDArray[np.int64], values: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.unique(group * (int(values.max()) + 1) + values, return_inverse=True)[1].astype(np.int64)


def _untold(group: NDArray[np.int64], standing: NDArray[np.int64]) -> int:
    """How many examples are not what most of their group are."""
    pairs, counts = np.unique(np.column_stack([group, standing]), axis=0, return_counts=True)
    most = np.zeros(int(group.max(initial=0)) + 1, dtype=np.int64)
    np.maximum.at(most, pairs[:, 0], counts)
    return len(group) - int(most.sum())
