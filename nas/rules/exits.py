"""Networks with their exits: all the places where a network may end are trained in one step.

"BranchyNet: Fast Inference via Early Exiting from Deep Neural Networks" (Teerapittayanon et al., ICPR 2016),
section III: the loss is the sum over all exits. There one pass gives all outputs; here each exit is a subnet
and has a pass of its own, so that what is trained is what is cut out. Early exits that learn from the last:
"Be Your Own Teacher" (Zhang et al., ICCV 2019), section 3.
"""

from __future__ import annotations

from nas.rules.moment import Count, Moment, Pass, Share
from nas.rules.registry import RULES
from nas.rules.sampling import draw
from search_spaces.spaces.exits import ends_of


@RULES.register("exits", needs={"exits"})
def exits(moment: Moment, *, random_subnets: Count = 1, labels: Share = 1.0) -> list[Pass]:
    """The largest and ``random_subnets`` random ones, each with all of its exits, on the labels; then the
    exits on the outputs of their whole network.

    In a space without the choice ``exit`` there are only the networks themselves.

    Args:
        moment: state of the training.
        random_subnets: random subnets trained in each step, in addition to the largest.
        labels: share of the training in which all learn from the labels; 0 distils from the first step on.
    """
    space = moment.space
    found: list[Pass] = []
    for row in (space.to_row(space.largest()), *draw(moment, random_subnets)):
        whole, archs = len(found), [space.to_arch(one) for one in ends_of(space, row)]
        teacher = None if moment.progress < labels else whole
        found += [Pass(arch=arch, teacher=teacher if at else None) for at, arch in enumerate(archs)]
    return [Pass(arch=one.arch, teacher=one.teacher, weight=1 / len(found)) for one in found]
