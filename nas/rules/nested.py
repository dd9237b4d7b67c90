"""Sorted nested sampling: only subnets that lie inside one another.

"SortedNet: A Scalable and Generalized Framework for Training Modular Deep Neural Networks" (Valipour et al.,
2023), sections 3.1 and 3.2: sub-models are prefixes of one another in every dimension at once, each step
draws a few and accumulates their gradients, all on the labels (there each on images of its own; here on the
same batch, as in all our rules). The chain runs from the smallest to the largest, every size choice at the
same share of its range. Categories have no order and are drawn.
"""

from __future__ import annotations

import numpy as np

from nas.rules.moment import Count, Moment, Pass
from nas.rules.registry import RULES
from nas.rules.sampling import positions
from search_spaces.space import Rows, SearchSpace

_LEVELS = 16


@RULES.register("nested")
def nested(moment: Moment, *, random_subnets: Count = 2) -> list[Pass]:
    """``random_subnets + 2`` members of the chain on the labels, as many passes as the sandwich has.

    Args:
        moment: state of the training.
        random_subnets: subnets of the chain trained in each step, less two.
    """
    n, links = random_subnets + 2, chain(moment.space)
    if moment.size is None:
        chosen = links[moment.rng.integers(len(links), size=n)]
    else:
        at = positions(moment, moment.space.canonical(links))
        aim = at[0] + moment.rng.random(n) * (at[-1] - at[0])
        chosen = links[np.abs(at - aim[:, None]).argmin(axis=1)]
    categories = moment.rng.integers(0, moment.space.n_values, size=chosen.shape)
    rows = moment.space.nearest(np.where(moment.space.categorical, categories, chosen))
    return [Pass(arch=moment.space.to_arch(row), weight=1 / n) for row in rows]


def chain(space: SearchSpace) -> Rows:
    """The nested archs from smallest to largest, (n links, n choices): no index ever falls along it.

    Not canonical: categories stay at the largest's own, and depth alone decides which choices matter.
    """
    largest = space.ends[1]
    top = np.where(space.active(largest[None])[0], largest, space.n_values - 1)
    shares = np.linspace(0, 1, _LEVELS)[:, None]
    rows = np.rint(shares * top).astype(np.int64)
    rows[:, space.categorical] = top[space.categorical]
    return np.unique(rows, axis=0)
