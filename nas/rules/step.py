"""What a training rule gives back: the passes of one step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from search_spaces.choice import Value
from search_spaces.space import SearchSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One forward and backward pass of a step.

    Attributes:
        arch: the subnet that runs.
        teacher: index of the earlier pass of the step whose outputs it learns from; None learns from labels.
        weight: of its loss in the step's sum.
    """

    arch: dict[str, Value]
    teacher: int | None = None
    weight: float = 1.0


Rule = Callable[[SearchSpace, np.random.Generator], list[Pass]]
"""``rule(space, rng)`` gives the passes of one step, teachers before their students."""
