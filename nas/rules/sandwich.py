"""The sandwich rule with in-place distillation.

"Universally Slimmable Networks and Improved Training Techniques" (Yu and Huang, ICCV 2019), sections 3.2
and 3.3, as used by BigNAS (Yu et al., ECCV 2020): each step trains the largest subnet on the labels, and the
smallest and a few random ones on the largest's outputs. Their spaces have sizes only; ours have categories
too (mixers). The largest keeps its own, so that the teacher is one network and not another one each step;
the smallest takes its at random, so that every mixer is trained at its smallest.
"""

from __future__ import annotations

import numpy as np

from nas.rules.step import Pass
from search_spaces.space import SearchSpace


def sandwich(space: SearchSpace, rng: np.random.Generator, *, random_subnets: int = 2) -> list[Pass]:
    """The largest on the labels; the smallest and ``random_subnets`` random ones on its outputs."""
    rows = space.sample(1 + random_subnets, rng)
    rows[0] = np.where(space.categorical, rng.integers(0, space.n_values), 0)
    students = [space.to_arch(row) for row in rows]
    return [Pass(arch=space.largest()), *(Pass(arch=arch, teacher=0) for arch in students)]
