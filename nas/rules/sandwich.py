"""The sandwich rule, on the labels; or with in-place distillation after a share of the training.

"Universally Slimmable Networks and Improved Training Techniques" (Yu and Huang, ICCV 2019), sections 3.2
and 3.3, as used by BigNAS (Yu et al., ECCV 2020): each step trains the largest subnet on the labels, and the
smallest and a few random ones on the largest's outputs. There trainings are long. In one of some thousand
steps a largest that knows nothing yet holds back all the others, and by the shared weights itself; so here
all learn from the labels first, for a share of the training (docs/ranking.md measures it). Their spaces have
sizes only; ours have categories too (mixers). The largest keeps its own, so that the teacher is one network
and not another one each step; the smallest takes its at random, so that every mixer is trained at its
smallest. A step's loss is the mean over its passes, so that clipping is what it is for a network alone.
"""

from __future__ import annotations

from dataclasses import replace

from nas.rules.moment import Count, Moment, Pass, Share
from nas.rules.registry import RULES
from nas.rules.sampling import draw, smallest_row, taught


@RULES.register("sandwich")
def sandwich(moment: Moment, *, random_subnets: Count = 2, labels: Share = 1.0) -> list[Pass]:
    """The largest, the smallest and ``random_subnets`` random ones on the labels; then all others on the
    largest's outputs.

    Args:
        moment: state of the training.
        random_subnets: random subnets trained in each step, in addition to the largest and the smallest.
        labels: share of the training in which all learn from the labels; 0 distils from the first step on.
    """
    smallest = smallest_row(moment.space, moment.rng)
    passes = taught(moment.space, [smallest, *draw(moment, random_subnets)], weight=1 / (random_subnets + 2))
    passes[0] = replace(passes[0], weight=passes[1].weight)
    if moment.progress < labels:
        return [replace(one, teacher=None) for one in passes]
    return passes
