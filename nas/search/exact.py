"""The archs with the least additive loss under limits on additive costs, found exactly.

Where what is lost and what it costs are sums of terms that depend on few choices each (scores of blocks
learned one by one, a ridge regression; layers of a latency table), the best arch under a limit needs no
search: it is an integer program, as in "LANA: Latency Aware Network Acceleration" (Molchanov et al., ECCV
2022) and "Puzzle: Distillation-Based NAS for Inference-Optimized LLMs" (Bercovich et al., 2024). There every
slot has alternatives of its own; here slots share choices (the width of a stage is that of all its blocks),
so the variables are the values of choices, and each table of terms has one for each of its entries, whose
margins are those of the choices.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from search_spaces.reference.extremes import Row, Term, argmin
from search_spaces.space import SearchSpace

Floats = NDArray[np.float64]
_SPAN = 1e3  # of the losses as the solver sees them, whose gap is absolute, 1e-6
_ROUNDING = 1e-12  # of a limit
_OPTIMAL, _TIME_IS_UP, _INFEASIBLE = 0, 1, 2  # what milp calls them


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A sum that may not be more than something.

    Attributes:
        terms: its parts; infinite or NaN where something cannot be.
        limit: its largest value; infinite for none.

    Raises:
        ValueError: a limit that is no number.
    """

    terms: Sequence[Term]
    limit: float

    def __post_init__(self) -> None:
        if math.isnan(self.limit):
            raise ValueError("a limit has to be a number, got nan")

    def admits(self, total: float) -> bool:
        """Whether a sum meets the limit, but for the rounding of sums in another order."""
        return total <= self.limit + _ROUNDING * abs(self.limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """An arch, what it loses and what it costs.

    Attributes:
        row: the arch, canonical, (n choices,).
        loss: sum of its losses.
        costs: its costs by name.
    """

    row: Row
    loss: float
    costs: Mapping[str, float]


def solve(
    space: SearchSpace,
    losses: Sequence[Term],
    bounds: Mapping[str, Bound],
    *,
    k: int = 1,
    budget_s: float = 60.0,
    gap: float = 0.0,
) -> list[Solution]:
    """The k archs with the least loss that meet every bound, best first; all there are where they are fewer.

    Those after the first are found by excluding what was found before. HiGHS solves the programs (by
    ``scipy.optimize.milp``); every sum is then computed again, and what the solver's tolerance let
    over a limit is excluded.

    Args:
        space: space of the archs.
        losses: parts of what is to be least; infinite or NaN where something cannot be.
        bounds: costs by name, such as ``{"latency_ms": Bound(terms=space.terms(layer_ms), limit=0.1)}``.
        k: number of archs.
        budget_s: seconds for each program.
        gap: share by which a sum may be away from the best there is; to prove the last of it can take long.

    Raises:
        ValueError: no arch meets the bounds; says what the least of each cost would be.
        TimeoutError: a program that was not solved to the end in time.
    """
    if k < 1:
        raise ValueError(f"{k} archs are none; ask for 1 or more")
    program = _Program(space, losses, bounds)
    found: list[Solution] = []
    while len(found) < k:
        row = program.solve(budget_s, gap)
        if row is None:
            break
        program.exclude(row)
        costs = {name: _total(bound.terms, row) for name, bound in bounds.items()}
        if all(bound.admits(costs[name]) for name, bound in bounds.items()):
            found.append(Solution(row=row, loss=_total(losses, row), costs=costs))
    if not found:
        raise ValueError(_nothing(space, losses, bounds))
    return sorted(found, key=lambda one: one.loss)


def _total(terms: Sequence[Term], row: Row) -> float:
    return math.fsum(float(one.values[tuple(row[list(one.columns)])]) for one in terms)


def _nothing(space: SearchSpace, losses: Sequence[Term], bounds: Mapping[str, Bound]) -> str:
    """Why no arch meets the bounds: the least of each cost, which elimination finds."""
    parts = [*losses, *(one for bound in bounds.values() for one in bound.terms)]
    possible = [Term(columns=one.columns, values=np.isfinite(one.values)) for one in parts]
    told = []
    for name, bound in bounds.items():
        finite = [
            Term(columns=one.columns, values=np.where(np.isfinite(one.values), one.values, 0.0))
            for one in bound.terms
        ]
        row = argmin(space.n_values, finite, [*possible, *space.possible_terms])
        least = "?" if row is None else f"{_total(bound.terms, row):.4g}"
        told.append(f"{name} <= {bound.limit:.4g} (the least there is {least})")
    return f"no arch of space {space.name!r} meets " + " and ".join(told or ["what the losses allow"])


class _Program:
    """The integer program: a variable for each value of each choice, one for each entry of each table."""

    def __init__(self, space: SearchSpace, losses: Sequence[Term], bounds: Mapping[str, Bound]) -> None:
        self._n_values = space.n_values
        self._first = np.concatenate([[0], np.cumsum(space.n_values)[:-1]])  # variable of each first value
        n_choices = int(space.n_values.sum())
        allowed = [
            Term(columns=one.columns, values=np.where(one.values, 0.0, np.inf))
            for one in space.possible_terms
        ]
        sums = [[*losses, *allowed], *(bound.terms for bound in bounds.values())]
        tables = _tables(sums, space.n_values)
        self._rows = _Rows()
        for column, n in enumerate(space.n_values):
            self._rows.add([(int(self._first[column]) + value, 1.0) for value in range(n)], 1.0, 1.0)
        coefficients = [np.zeros(n_choices) for _ in sums]
        for columns, values in tables.items():  # (sums, *shape)
            start = len(coefficients[0])
            entries = np.argwhere(np.isfinite(values).all(axis=0))
            for at, one in enumerate(values):
                coefficients[at] = np.append(coefficients[at], one[tuple(entries.T)])
            for axis, column in enumerate(columns):
                for value in range(space.n_values[column]):
                    mine = start + np.flatnonzero(entries[:, axis] == value)
                    margin = [
                        *((int(entry), 1.0) for entry in mine),
                        (int(self._first[column]) + value, -1.0),
                    ]
                    self._rows.add(margin, 0.0, 0.0)
        for cost, bound in zip(coefficients[1:], bounds.values(), strict=True):
            scale = max(abs(bound.limit), 1e-12) if math.isfinite(bound.limit) else 1.0
            used = np.flatnonzero(cost)
            self._rows.add([(int(at), float(cost[at]) / scale) for at in used], -np.inf, bound.limit / scale)
        span = float(np.ptp(coefficients[0])) or 1.0
        self._objective = coefficients[0] * (_SPAN / span)
        self._integral = np.arange(len(self._objective)) < n_choices

    def solve(self, budget_s: float, gap: float) -> Row | None:
        """The best row that is not excluded; None where there is none."""
        done = milp(
            self._objective,
            integrality=self._integral.astype(int),
            bounds=Bounds(0, 1),
            constraints=self._rows.constraint(len(self._objective)),
            options={"mip_rel_gap": gap, "time_limit": budget_s},
        )
        if done.status == _INFEASIBLE:
            return None
        if done.status != _OPTIMAL:
            reason = "was not solved in time" if done.status == _TIME_IS_UP else f"failed ({done.message})"
            raise TimeoutError(
                f"the integer program {reason}: give it more than {budget_s:g} s, or fewer choices"
            )
        ends = [*self._first[1:].tolist(), int(self._integral.sum())]
        chosen = [done.x[first:end].argmax() for first, end in zip(self._first, ends, strict=True)]
        return np.array(chosen, dtype=np.int64)

    def exclude(self, row: Row) -> None:
        """Leaves this row out from now on: a "no-good cut", one of its values at least has to differ."""
        self._rows.add([(int(at), 1.0) for at in self._first + row], -np.inf, len(row) - 1.0)


class _Rows:
    """Linear constraints as they come: (variable, factor) pairs, between a lower and an upper end."""

    def __init__(self) -> None:
        self._at: list[tuple[int, int]] = []
        self._factors: list[float] = []
        self._low: list[float] = []
        self._high: list[float] = []

    def add(self, pairs: Sequence[tuple[int, float]], low: float, high: float) -> None:
        self._at += [(len(self._low), variable) for variable, _ in pairs]
        self._factors += [factor for _, factor in pairs]
        self._low.append(low)
        self._high.append(high)

    def constraint(self, variables: int) -> LinearConstraint:
        places = np.array(self._at).reshape(-1, 2).T
        matrix = csr_array((self._factors, (places[0], places[1])), shape=(len(self._low), variables))
        return LinearConstraint(matrix, self._low, self._high)


def _tables(sums: Sequence[Sequence[Term]], n_values: Row) -> dict[tuple[int, ...], Floats]:
    """All terms added up in few tables: one for each set of choices that is in no other's, (sums, *shape)."""
    scopes = sorted({tuple(sorted(one.columns)) for terms in sums for one in terms}, key=len, reverse=True)
    kept: list[tuple[int, ...]] = []
    for scope in scopes:
        if not any(set(scope) <= set(other) for other in kept):
            kept.append(scope)
    tables = {scope: np.zeros((len(sums), *(n_values[column] for column in scope))) for scope in kept}
    for at, terms in enumerate(sums):
        for one in terms:
            scope = next(other for other in kept if set(one.columns) <= set(other))
            order = np.argsort([scope.index(column) for column in one.columns])
            shape = [n_values[column] if column in one.columns else 1 for column in scope]
            tables[scope][at] += np.transpose(one.values, order).reshape(shape)
    return tables
