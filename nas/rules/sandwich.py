"""The sandwich rule with in-place distillation.

"Universally Slimmable Networks and Improved Training Techniques" (Yu and Huang, ICCV 2019), sections 3.2
and 3.3, as used by BigNAS (Yu et al., ECCV 2020): each step trains the largest subnet on the labels, and the
smallest and a few random ones on the largest's outputs. Their spaces have sizes only; ours have categories
too (mixers). The largest keeps its own, so that the teacher is one network and not another one each step;
the smallest takes its at random, so that every mixer is trained at its smallest.
"""

from __future__ import annotations

from nas.rules.moment import Count, Moment, Pass
from nas.rules.registry import RULES
from nas.rules.sampling import draw, smallest_row, taught


@RULES.register("sandwich")
def sandwich(moment: Moment, *, random_subnets: Count = 2) -> list[Pass]:
    """The largest on the labels; the smallest and ``random_subnets`` random ones on its outputs.

    Args:
        moment: state of the training.
        random_subnets: random subnets trained in each step, in addition to the largest and the smallest.
    """
    smallest = smallest_row(moment.space, moment.rng)
    return taught(moment.space, [smallest, *draw(moment, random_subnets)])
