"""The rules of a space at work: which rows keep them, how many do, and the nearest that does."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from search_spaces.choice import Choice
from search_spaces.conditions import Parent, count_archs
from search_spaces.reference.counting import Draw, count_allowed
from search_spaces.reference.extremes import Term, argmin, canonical_terms
from search_spaces.rules.rule import Rule, term_of, texts

Rows = NDArray[np.int64]


class Kept:
    """Rules over the choices of a space, or none, told by tables.

    Args:
        rules: the rules.
        choices: choices of the space.
        parents: parent of each choice.

    Raises:
        ValueError: rules that leave nothing, or that cannot be told by tables.
    """

    def __init__(self, rules: Sequence[Rule], choices: Sequence[Choice], parents: Sequence[Parent]) -> None:
        self.rules = tuple(rules)
        self.terms: tuple[Term, ...] = tuple(term_of(rule, choices, parents) for rule in rules)
        self._n_values = np.array([len(choice.values) for choice in choices], dtype=np.int64)
        self._categorical = np.array([choice.categorical for choice in choices], dtype=bool)
        self._parents = parents
        self._canonical = canonical_terms(self._n_values, parents)
        if self.rules and not self.size:
            raise ValueError(f"the rules leave no network: {self._culprits()}")

    def _culprits(self) -> str:
        """The rules that leave nothing: one of them if one does it alone, else all that are needed for it."""
        needed = dict(enumerate(self.terms))
        for at in range(len(self.terms)):
            rest = [term for other, term in needed.items() if other != at]
            if not count_allowed(self._n_values, [*rest, *self._canonical]):
                del needed[at]
        return "; ".join(texts([self.rules[at] for at in needed]))

    @cached_property
    def size(self) -> int:
        """How many canonical archs keep all rules, exactly."""
        if not self.rules:
            return count_archs(self._n_values, self._parents)
        return count_allowed(self._n_values, [*self.terms, *self._canonical])

    @cached_property
    def draw(self) -> Draw:
        """Draws rows that keep all rules, every choice uniform where they leave it free; not canonical."""
        return Draw(self._n_values, self.terms)

    def settled(self, rows: Rows, column: int) -> NDArray[np.bool_]:
        """Whether each row keeps the rules that are over choices up to a column, that one included, (n,)."""
        good = np.ones(len(rows), dtype=bool)
        for term in self.terms:
            if max(term.columns) == column:
                good &= term.values[tuple(rows[:, one] for one in term.columns)]
        return good

    def allowed(self, rows: Rows) -> NDArray[np.bool_]:
        """Whether each row keeps all rules, (n,)."""
        good = np.ones(len(rows), dtype=bool)
        for term in self.terms:
            good &= term.values[tuple(rows[:, column] for column in term.columns)]
        return good

    def broken(self, row: Rows) -> str:
        """The rules that a row breaks, as text."""
        return "; ".join(
            texts(
                [
                    rule
                    for rule, term in zip(self.rules, self.terms, strict=True)
                    if not term.values[tuple(row[column] for column in term.columns)]
                ]
            )
        )

    def nearest(self, row: Rows, only: Sequence[Term] = ()) -> Rows | None:
        """The canonical arch nearest to a row that keeps all rules, (n choices,).

        Near is the least sum of distances, each a share of the choice's range; another category is a whole
        one.

        Args:
            row: indices of values.
            only: further values that are allowed, of one choice each.

        Returns:
            None where nothing is left with these.
        """
        distances = [
            Term(columns=(column,), values=self._distances(column, int(row[column])))
            for column in range(len(row))
        ]
        wanted = [*self.terms, *self._canonical, *only]
        found = argmin(self._n_values, distances, wanted)
        assert found is not None  # its tables are those of ``size``, which were small enough
        return found if all(one.values[tuple(found[list(one.columns)])] for one in wanted) else None

    def _distances(self, column: int, index: int) -> NDArray[np.float64]:
        n = int(self._n_values[column])
        places = np.arange(n)
        if self._categorical[column]:
            return (places != index).astype(np.float64)
        return np.abs(places - index) / max(n - 1, 1)
