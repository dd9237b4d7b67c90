"""What a training rule takes, and what it returns: the passes of one step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nas.distillation.teaching import Lecture
from search_spaces.choice import Value
from search_spaces.space import Rows, SearchSpace

Floats = NDArray[np.float64]

Size = Callable[[Rows], Floats]
"""``size(rows)`` gives the cost of each arch, (n,), positive: a cost model's view of how big it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One forward and backward pass of a step.

    Attributes:
        arch: the subnet that runs.
        teacher: index of the earlier pass of the step whose outputs it learns from, or the teaching of
            networks from outside; None learns from labels.
        teacher_weight: share of the loss on what the teacher gives, in [0, 1]; labels have the rest.
        weight: factor of its loss in the step's sum.
        resolution: (height, width) the images are scaled to for it; None takes them as they are.
    """

    arch: dict[str, Value]
    teacher: int | Lecture | None = None
    teacher_weight: float = 1.0
    weight: float = 1.0
    resolution: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The last passes of a training, oldest first; it is kept in the checkpoint.

    Attributes:
        sizes: MACs, or other positive costs, of the archs that ran, (n,).
        losses: one for each pass, (n,).
        taught: whether the pass learned from a teacher, (n,).
    """

    sizes: Floats = field(default_factory=lambda: np.empty(0))
    losses: Floats = field(default_factory=lambda: np.empty(0))
    taught: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, dtype=bool))


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """All that a rule may decide by. The same moment gives the same passes: so a training can be resumed.

    Attributes:
        space: search space of the supernet.
        rng: generator of this step alone.
        progress: share of the training's steps that are done, in [0, 1).
        size: how big archs are; None where rules should draw every choice uniformly.
        history: record of the passes so far; empty where the size is None.
    """

    space: SearchSpace
    rng: np.random.Generator
    progress: float = 0.0
    size: Size | None = None
    history: History = field(default_factory=History)


Rule = Callable[[Moment], list[Pass]]
"""``rule(moment)`` gives the passes of one step, teachers before their students."""

Count = Annotated[int, Field(ge=0)]
"""A setting of rules that counts something."""

Share = Annotated[float, Field(ge=0, le=1)]
"""A setting of rules that is a fraction of something."""
