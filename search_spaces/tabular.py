"""A space that is a table: archs with their scores, so that searchers can be judged without training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

import numpy as np
from numpy.typing import NDArray

from results.names import unknown
from search_spaces.choice import Choice, Value
from search_spaces.space import Arch, Rows, SearchSpace

if TYPE_CHECKING:
    import pandas


class TabularSpace(SearchSpace):
    """The archs of a table. Combinations that the table lacks are not in the space.

    Args:
        name: name in files and messages.
        choices: choice for each column that describes the arch.
        rows: archs of the table, (n, n choices), no two the same.
        scores: numbers of the table, name to (n,).

    Raises:
        ValueError: two rows are the same arch.
    """

    def __init__(
        self, name: str, choices: Sequence[Choice], rows: Rows, scores: Mapping[str, NDArray[np.float64]]
    ) -> None:
        super().__init__(name, choices, _no_network)
        self.scores = dict(scores)
        # Rows are found by a 64-bit hash: with thirty choices a place in the full grid overflows.
        odd = np.random.default_rng(0).integers(0, 2**62, size=rows.shape[1])
        self._weights = (odd * 2 + 1).astype(np.uint64)
        keys = self._hash(rows)
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]
        self._rows = rows
        twice = np.flatnonzero(np.diff(self._keys) == 0)
        if len(twice):
            first, second = self._order[twice[0]], self._order[twice[0] + 1]
            raise ValueError(
                f"rows {first} and {second} of the table are the same arch, {self.to_arch(rows[first])}; "
                "keep one, or average them first"
            )

    @classmethod
    def from_table(
        cls,
        frame: pandas.DataFrame,
        *,
        choices: Sequence[str],
        objectives: Sequence[str],
        name: str = "table",
    ) -> TabularSpace:
        """A space from a data frame: numbers become ordered values, anything else categories.

        Args:
            frame: table with one line an arch.
            choices: columns that say which arch it is.
            objectives: columns with its scores and costs, in the frame's units.
            name: name of the space.

        Raises:
            ValueError: an unknown column, an empty table, a missing value, a score that is not a number,
                an arch that comes twice, or two columns of one name.
        """
        for column in [*choices, *objectives]:
            if column not in frame.columns:
                raise ValueError(unknown("column", column, frame.columns))
            if list(frame.columns).count(column) > 1:
                raise ValueError(f"the table has several columns named {column!r}; rename all but one")
            if column in choices and column in objectives:
                raise ValueError(f"column {column!r} is given as a choice and as an objective; it is one")
        if not len(frame) or not choices or not objectives:
            raise ValueError("a tabular space needs rows, columns of choices and columns of objectives")
        made, columns = [], []
        for column in choices:
            choice, indices = _choice(column, frame[column])
            made.append(choice)
            columns.append(indices)
        scores = {column: _numbers(column, frame[column].tolist()) for column in objectives}
        return cls(name, made, np.stack(columns, axis=1).astype(np.int64), scores)

    # -- the table -------------------------------------------------------------------------------

    def position(self, rows: Rows) -> Rows:
        """The line of each arch in the table, (n,); -1 where it has none."""
        keys = self._hash(rows)
        at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        place = self._order[at]
        return np.where((self._rows[place] == rows).all(axis=1), place, -1)

    def _hash(self, rows: Rows) -> NDArray[np.uint64]:
        return rows.astype(np.uint64) @ self._weights

    def costs(self, *names: str) -> Callable[[Rows], dict[str, NDArray[np.float64]]]:
        """Those columns as costs that a search knows without an evaluation."""
        columns = {name: self._column(name) for name in names}

        def look_up(rows: Rows) -> dict[str, NDArray[np.float64]]:
            at = self.position(rows)
            return {name: np.where(at < 0, np.nan, column[at]) for name, column in columns.items()}

        return look_up

    def evaluator(self, *names: str) -> Callable[[Arch], dict[str, float]]:
        """Those columns as what an evaluation gives."""
        columns = {name: self._column(name) for name in names}

        def look_up(arch: Arch) -> dict[str, float]:
            at = int(self.position(self.to_row(arch)[None])[0])
            if at < 0:
                raise ValueError(f"the table has no row for {dict(arch)}")
            return {name: float(column[at]) for name, column in columns.items()}

        return look_up

    def _column(self, name: str) -> NDArray[np.float64]:
        if name not in self.scores:
            raise ValueError(unknown("column of scores", name, self.scores))
        return self.scores[name]

    # -- the space -------------------------------------------------------------------------------

    def _macs(self, row: Rows) -> float:  # noqa: ARG002 - a table has no networks that could be counted
        return float("nan")

    @property
    def size(self) -> int:
        """How many archs the table has."""
        return len(self._rows)

    def enumerate(self, limit: int = 1_000_000) -> Rows:
        """Every arch of the table, in its order, (size, n choices)."""
        if self.size > limit:
            raise ValueError(f"space {self.name!r} holds {self.size:.3g} archs; enumerating stops at {limit}")
        return self._rows.copy()

    def sample(self, n: int, rng: np.random.Generator) -> Rows:
        """n archs of the table, each as likely as any other."""
        return self._rows[rng.integers(len(self._rows), size=n)]

    def valid(self, rows: Rows) -> NDArray[np.bool_]:
        """Whether the table has each arch, (n,)."""
        inside = super().valid(rows)
        return np.asarray(inside & (self.position(np.where(inside[:, None], rows, 0)) >= 0))


def _no_network(arch: Arch) -> NoReturn:  # noqa: ARG001
    raise ValueError("a tabular space has scores and no networks to build")


def _choice(name: str, column: pandas.Series) -> tuple[Choice, Rows]:
    """The choice of a column, and the index of the value in every row."""
    import pandas as pd

    codes, found = pd.factorize(column)
    missing = np.flatnonzero(codes < 0)
    if len(missing):
        raise ValueError(f"column {name!r} has nothing in row {missing[0]} ({len(missing)} in all)")
    cells = [cell if isinstance(cell, bool | int | float | str) else str(cell) for cell in found.tolist()]
    values: list[Value] = cells if any(isinstance(cell, str) for cell in cells) else sorted(cells)
    place = np.array([values.index(cell) for cell in cells], dtype=np.int64)
    return Choice(name, tuple(values)), place[codes]


def _numbers(name: str, column: list[object]) -> NDArray[np.float64]:
    try:
        numbers = np.array(column, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"column {name!r} is an objective but not all numbers: {error}") from error
    missing = np.flatnonzero(np.isnan(numbers))
    if len(missing):
        raise ValueError(f"column {name!r} has no number in row {missing[0]} ({len(missing)} in all)")
    return numbers
