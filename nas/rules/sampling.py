"""Drawing archs evenly over sizes, and turning them into passes.

Choices drawn uniformly and independently make networks of nearly one size: the middle is trained, the ends
are not ("ShiftNAS", Zhang et al., ICCV 2023, section 1). So sizes are drawn first and archs to fit them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nas.rules.moment import Floats, Moment, Pass
from search_spaces.space import Rows, SearchSpace

_CANDIDATES = 32  # archs looked at for each one drawn: sizes then miss by 2 % of the log range
_STEEPEST = 8.0  # slope of the steepest lean: steeper ones repeat the ends, gentler ones miss them


def draw(moment: Moment, n: int, lowest: Rows | None = None) -> Rows:
    """n canonical archs: log sizes uniform where sizes are known, else every choice uniform.

    Args:
        moment: space, generator and size.
        n: how many.
        lowest: the first value index that may be drawn, (n choices,); 0 everywhere when not given.
    """
    if moment.size is None:
        if lowest is None:
            return moment.space.sample(n, moment.rng)
        shape = (n, len(moment.space.choices))
        return moment.space.nearest(moment.rng.integers(lowest, moment.space.n_values, size=shape))
    return draw_at(moment, moment.rng.random(n), lowest)


def draw_at(moment: Moment, wanted: Floats, lowest: Rows | None = None) -> Rows:
    """Random archs of about the wanted sizes, (n, n choices), canonical.

    Args:
        moment: space, generator and size.
        wanted: shares (n,) in [0, 1], from the least log size in the space to the most.
        lowest: the first value index that may be drawn, (n choices,); 0 everywhere when not given.
    """
    if moment.size is None:
        raise ValueError("archs of a wanted size need a cost model; set train.sampling to 'size'")
    space, n = moment.space, len(wanted)
    first = np.zeros_like(space.n_values) if lowest is None else lowest
    rows = _leaning(space, first, n * _CANDIDATES, moment.rng)
    smallest, largest = space.ends
    ends = space.canonical(np.stack([np.maximum(smallest, first), largest]))
    at = positions(moment, np.concatenate([ends, rows]))
    low, high = at[:2]
    aim = low + wanted * max(high - low, 0.0)
    missed = np.where(space.allowed(rows), np.abs(at[2:] - aim.repeat(_CANDIDATES)), np.inf)
    best = missed.reshape(n, _CANDIDATES).argmin(axis=1)
    return space.nearest(rows[np.arange(n) * _CANDIDATES + best])


def positions(moment: Moment, rows: Rows) -> Floats:
    """Log sizes, (n,)."""
    assert moment.size is not None
    return np.asarray(np.log(np.maximum(moment.size(rows), 1.0)))


def _leaning(space: SearchSpace, first: Rows, n: int, rng: np.random.Generator) -> Rows:
    """Canonical archs that lean towards small or large values as a whole, each by a slope of its own.

    A value's chance grows or falls exponentially with its place; categories take no part in it.
    """
    slope = rng.uniform(-_STEEPEST, _STEEPEST, size=(n, 1))
    slope = np.where(np.abs(slope) < 1e-3, 1e-3, slope)
    even = rng.random((n, len(space.choices)))
    place = np.where(space.categorical, even, np.log1p(even * np.expm1(slope)) / slope)
    index = first + np.floor(place * (space.n_values - first)).astype(np.int64)
    return space.canonical(np.minimum(index, space.n_values - 1))


def smallest_row(space: SearchSpace, rng: np.random.Generator) -> Rows:
    """The smallest arch with its categories at random, (n choices,).

    So every category (mixer) is trained at its smallest.
    """
    return space.nearest(np.where(space.categorical, rng.integers(0, space.n_values), 0)[None])[0]


def taught(space: SearchSpace, students: Sequence[Rows] | Rows, weight: float = 1.0) -> list[Pass]:
    """The largest on the labels, then the students on its outputs."""
    archs = [space.to_arch(row) for row in students]
    return [Pass(arch=space.largest()), *(Pass(arch=arch, teacher=0, weight=weight) for arch in archs)]
