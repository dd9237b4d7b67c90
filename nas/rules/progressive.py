"""Progressive shrinking: the largest first, then smaller kernels, depths and widths, phase by phase.

"Once-for-All: Train One Network and Specialize It for Efficient Deployment" (Cai et al., ICLR 2020), section
3.3: the largest network is trained first; then kernel sizes become elastic, then depths, then widths, in
each phase from the large end down, and students learn from the largest. There the teacher is a frozen copy
and the phases are separate trainings; here the largest goes on learning and teaches as it is, in one go.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from nas.rules.moment import Count, Moment, Pass
from nas.rules.registry import RULES
from nas.rules.sampling import draw, taught
from search_spaces.space import Rows, SearchSpace

_PHASES = ("kernel", "depth", "size")  # roles of choices


@RULES.register("progressive")
def progressive(
    moment: Moment, *, random_subnets: Count = 2, alone: Annotated[float, Field(ge=0, lt=1)] = 0.25
) -> list[Pass]:
    """The largest on the labels, and ``random_subnets + 1`` subnets of what is open by now on its outputs.

    Args:
        moment: state of the training.
        random_subnets: students trained in each step, less one: as many passes as the sandwich has.
        alone: share of the training in which the largest runs alone.
    """
    if moment.progress < alone:
        return taught(moment.space, [])
    lowest = lowest_open(moment.space, (moment.progress - alone) / (1 - alone))
    return taught(moment.space, draw(moment, random_subnets + 1, lowest))


def lowest_open(space: SearchSpace, progress: float) -> Rows:
    """The first value index each choice may take, (n choices,), from a share of the phases' time.

    Kernels open first, then depths, then sizes; categories, whose values have no order, are open throughout.
    Phases have equal time; within the first half of its own a phase opens value after value, the largest
    first.
    """
    phases = [role for role in _PHASES if any(choice.role == role for choice in space.choices)]
    place = [phases.index(choice.role) if choice.role in phases else 0 for choice in space.choices]
    behind = progress * len(phases) - np.array(place)
    opened = np.floor(np.clip(2 * behind, 0, 1) * (space.n_values - 1))  # values below the largest
    opened = np.where(behind >= 0, np.maximum(opened, 1), 0)
    lowest = np.maximum(space.n_values - 1 - opened, 0).astype(np.int64)
    return np.where(space.categorical, 0, lowest)
