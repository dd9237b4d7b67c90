"""A search problem: a space, objectives, limits, and the costs that are known without an evaluation.

Everything here is vectorised over rows and costs microseconds an arch: searchers ask it as often as
they like.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas.search.objectives import UPPER, Limit, Objective, Scores, parse_limits, parse_objectives
from search_spaces.space import Rows, SearchSpace

Costs = Callable[[Rows], Mapping[str, NDArray[np.float64]]]
ENUMERABLE = 50_000
"""Spaces up to this size are listed once, so that sampling them is exact and their end is known."""


class Problem:
    """A space with objectives, limits and cheap costs.

    Args:
        space: space of archs.
        objectives: one to four objectives, name to ``max`` or ``min``. Those that ``costs`` gives are known
            before an evaluation; the others are measured by one.
        constraints: limits on costs or objectives by name.
        costs: function from rows to a dictionary of (n,) arrays; NaN or infinity where an arch cannot run.
        log: file of the trials; searchers may keep files of their own beside it.

    Raises:
        ValueError: unknown directions, limits on something that is not measured, costs of a wrong shape.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Mapping[str, str],
        constraints: Mapping[str, float] | None = None,
        costs: Costs | None = None,
        *,
        log: Path | None = None,
    ) -> None:
        self.space = space
        self.log = log
        self._costs = costs
        self.objectives: tuple[Objective, ...] = parse_objectives(objectives)
        self.cost_names = self._probe()
        self.limits: tuple[Limit, ...] = parse_limits(constraints or {}, self.objectives, self.cost_names)
        self.measured = tuple(o.name for o in self.objectives if o.name not in self.cost_names)
        self._signs = np.array([objective.sign for objective in self.objectives])

    def _probe(self) -> tuple[str, ...]:
        """The names of the costs, learnt from two archs."""
        if self._costs is None:
            return ()
        rows = self.space.sample(2, np.random.default_rng(0))
        found = self._costs(rows)
        for name, values in found.items():
            if np.shape(values) != (len(rows),):
                raise ValueError(
                    f"costs gave {name!r} shape {np.shape(values)} for {len(rows)} rows; "
                    "right is one number an arch"
                )
        return tuple(found)

    def costs(self, rows: Rows) -> dict[str, NDArray[np.float64]]:
        """The cheap costs of canonical rows, name to (n,)."""
        if self._costs is None:
            return {}
        return {name: np.asarray(values, dtype=np.float64) for name, values in self._costs(rows).items()}

    @property
    def main_cost(self) -> str:
        """The cheap cost that matters most: one with a limit, else an objective, else any; empty if none."""
        limited = [limit.name for limit in self.cheap_limits]
        wanted = [objective.name for objective in self.objectives if objective.name in self.cost_names]
        return next(iter([*limited, *wanted, *self.cost_names]), "")

    # -- limits ----------------------------------------------------------------------------------

    @cached_property
    def cheap_limits(self) -> tuple[Limit, ...]:
        """The limits that are checked before an evaluation: on costs, by the upper end where there is one."""
        return tuple(
            Limit(
                name=limit.name + UPPER if limit.name + UPPER in self.cost_names else limit.name,
                bound=limit.bound,
                at_least=limit.at_least,
            )
            for limit in self.limits
            if limit.name in self.cost_names
        )

    def violation(self, rows: Rows) -> NDArray[np.float64]:
        """The relative excess of each arch over the cheap limits, summed, (n,); 0 meets them all."""
        total = np.zeros(len(rows))
        if self.cheap_limits and len(rows):
            costs = self.costs(rows)
            for limit in self.cheap_limits:
                total += limit.excess(costs[limit.name])
        return total

    def admits(self, rows: Rows) -> NDArray[np.bool_]:
        """Whether each row is an arch of the space that meets every cheap limit, (n,)."""
        good = self.space.valid(rows)
        if self.cheap_limits and good.any():
            good = good.copy()
            good[good] = self.violation(rows[good]) == 0
        return good

    def excess(self, scores: Scores) -> NDArray[np.float64]:
        """The relative excess of measured scores over limits on objectives, (n,); 0 breaks none.

        Args:
            scores: minimised scores, (n, n objectives).
        """
        total = np.zeros(len(scores))
        for limit in self.limits:
            for column, objective in enumerate(self.objectives):
                if objective.name == limit.name:
                    total += limit.excess(scores[:, column] * objective.sign)
        return total

    # -- scores ----------------------------------------------------------------------------------

    def known(self, rows: Rows) -> Scores:
        """The objectives that need no evaluation, minimised, (n, n objectives); NaN for the others."""
        scores = np.full((len(rows), len(self.objectives)), np.nan)
        if len(self.measured) < len(self.objectives):
            costs = self.costs(rows)
            for column, objective in enumerate(self.objectives):
                if objective.name in costs:
                    scores[:, column] = objective.sign * costs[objective.name]
        return scores

    def minimised(self, scores: Mapping[str, float]) -> Scores:
        """One arch's numbers as a row of scores to be minimised, (n objectives,)."""
        return self._signs * np.array([scores[objective.name] for objective in self.objectives])

    # -- rows ------------------------------------------------------------------------------------

    @cached_property
    def listed(self) -> Rows | None:
        """Every arch that meets the cheap limits, if the space is small enough to list; else None."""
        if self.space.size > ENUMERABLE:
            return None
        rows = self.space.enumerate(ENUMERABLE)
        return rows[self.admits(rows)]
