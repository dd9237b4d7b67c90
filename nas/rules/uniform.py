"""Random subnets on the labels: the baseline that other rules are measured against.

"Single Path One-Shot Neural Architecture Search with Uniform Sampling" (Guo et al., ECCV 2020), section 3.2,
with several paths to a step as FairNAS (Chu et al., ICCV 2021) has them: no teacher, and neither the largest
nor the smallest is sure of its turn.
"""

from __future__ import annotations

from nas.rules.moment import Count, Moment, Pass
from nas.rules.registry import RULES
from nas.rules.sampling import draw


@RULES.register("uniform")
def uniform(moment: Moment, *, random_subnets: Count = 2) -> list[Pass]:
    """``random_subnets + 2`` random subnets on the labels, as many passes as the sandwich has.

    Args:
        moment: state of the training.
        random_subnets: random subnets trained in each step, less two.
    """
    n = random_subnets + 2
    return [Pass(arch=moment.space.to_arch(row), weight=1 / n) for row in draw(moment, n)]
