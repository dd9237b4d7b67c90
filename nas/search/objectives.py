"""Objectives and limits as a user writes them, checked, and turned so that less is always better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from results.names import unknown

Scores = NDArray[np.float64]
UPPER = "_upper"
"""``latency_ms_upper`` is the upper end of ``latency_ms`` at some confidence; limits are compared with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A number to make as large or as small as possible.

    Attributes:
        name: name of the number among costs and scores.
        maximise: whether more is better.
    """

    name: str
    maximise: bool

    @property
    def sign(self) -> float:
        """The factor that makes the number one to minimise."""
        return -1.0 if self.maximise else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A bound on a cost or an objective.

    Attributes:
        name: name of the cost or objective.
        bound: value, in its unit.
        at_least: whether the bound is a least value; else it is the greatest.
    """

    name: str
    bound: float
    at_least: bool = False

    def excess(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The relative amount by which each value breaks the limit, 0 where it does not; infinite for NaN."""
        over = self.bound - values if self.at_least else values - self.bound
        over = np.maximum(over, 0.0) / (abs(self.bound) or 1.0)
        return np.where(np.isnan(values), np.inf, over)

    def __str__(self) -> str:
        return f"{self.name} {'>=' if self.at_least else '<='} {self.bound:g}"


def parse_objectives(objectives: Mapping[str, str]) -> tuple[Objective, ...]:
    """Objectives from ``{"accuracy": "max", "latency_ms": "min"}``.

    Raises:
        ValueError: none or more than four, or a direction that is neither ``max`` nor ``min``.
    """
    if not 1 <= len(objectives) <= 4:
        raise ValueError(f"a search has one to four objectives, got {len(objectives)}")
    for name, direction in objectives.items():
        if direction not in ("max", "min"):
            raise ValueError(f"objective {name!r}: {unknown('direction', direction, ('max', 'min'))}")
    return tuple(Objective(name=name, maximise=direction == "max") for name, direction in objectives.items())


def parse_limits(
    constraints: Mapping[str, float], objectives: tuple[Objective, ...], costs: tuple[str, ...]
) -> tuple[Limit, ...]:
    """Limits from ``{"latency_ms": 5.0}``: a maximised objective is at least its limit, all else at most.

    Raises:
        ValueError: a limit on what is neither a cost nor an objective, or one that is not a finite number.
    """
    by_name = {objective.name: objective for objective in objectives}
    limits = []
    for name, bound in constraints.items():
        if name not in by_name and name not in costs:
            raise ValueError(
                f"a limit on {name!r}, but nothing measures it: "
                f"{unknown('cost or objective', name, [*costs, *by_name])}"
            )
        if isinstance(bound, bool) or not isinstance(bound, int | float) or not math.isfinite(bound):
            raise ValueError(f"the limit on {name!r} must be a finite number, got {bound!r}")
        at_least = name in by_name and by_name[name].maximise
        limits.append(Limit(name=name, bound=float(bound), at_least=at_least))
    return tuple(limits)
