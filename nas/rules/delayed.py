"""Delayed epsilon-shrinking: the full model first, then subnets whose share in the step rises from epsilon.

"DεpS: Delayed ε-Shrinking for Faster Once-For-All Training" (Annavajjala et al., ECCV 2024): shrinking starts
when the full model is about half trained (FM-warm-up), its subnets then learn from it in place
(IKD-warm-up), and their learning rate rises gradually, so that the partly trained full model is not thrown
off (ε-shrinking). All passes share one optimizer here, so the rise is that of their losses' weight, and it is
a straight line: the paper's own curve could not be checked against its code.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from nas.rules.moment import Count, Moment, Pass, Share
from nas.rules.registry import RULES
from nas.rules.sampling import draw, smallest_row, taught


@RULES.register("delayed")
def delayed(
    moment: Moment,
    *,
    random_subnets: Count = 2,
    delay: Share = 0.5,
    epsilon: Share = 0.01,
    rise: Annotated[float, Field(gt=0, le=1)] = 0.25,
) -> list[Pass]:
    """The largest alone until ``delay``; then the sandwich, its students weighing from ``epsilon`` up to 1.

    Args:
        moment: state of the training.
        random_subnets: random subnets trained in each step, in addition to the largest and the smallest.
        delay: share of the training in which the largest runs alone.
        epsilon: first weight of the students' losses.
        rise: share of the training over which that weight rises to 1.
    """
    if moment.progress < delay:
        return taught(moment.space, [])
    weight = epsilon + (1 - epsilon) * min(1.0, (moment.progress - delay) / rise)
    smallest = smallest_row(moment.space, moment.rng)
    return taught(moment.space, [smallest, *draw(moment, random_subnets)], weight)
