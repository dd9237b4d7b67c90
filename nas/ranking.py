"""The choice of networks to judge a supernet's ranking by: spread over the sizes of a space."""

from __future__ import annotations

import numpy as np

from nas.rules.moment import Moment, Size
from nas.rules.sampling import draw_at
from search_spaces.space import Rows, SearchSpace

_TRIES = 50  # draws for a place whose archs were all taken


def spread(space: SearchSpace, size: Size, n: int, *, seed: int) -> Rows:
    """n different archs from the smallest to the largest, evenly spread over log size.

    The two ends are there; between them sizes follow a van der Corput sequence, which is even wherever it
    stops: with the same seed, fewer archs are among more, so that what was learned of them is not lost. Archs
    drawn uniformly choice by choice would nearly all be of one size, and say nothing of the ends.

    Args:
        space: space to draw from.
        size: function from rows to the size of each arch, (n,).
        n: number of archs, at least 2.
        seed: seed of the draw.

    Returns:
        (n, n choices), canonical, in order of size.

    Raises:
        ValueError: fewer than 2, or more than the space holds.
    """
    if n < 2:
        raise ValueError(f"{n} networks have no range of sizes; ask for 2 or more")
    if n > space.size:
        raise ValueError(f"{n} networks are asked for, and space {space.name!r} holds {space.size}")
    if n == space.size:
        rows = space.enumerate()
    else:
        rows = _draw_spread(space, size, n, np.random.default_rng([seed, 3]))
    return rows[np.argsort(size(rows), kind="stable")]


def _draw_spread(space: SearchSpace, size: Size, n: int, rng: np.random.Generator) -> Rows:
    moment = Moment(space=space, rng=rng, size=size)
    taken = {row.tobytes(): row for row in space.ends}
    start = rng.random()
    for place in range(1, n - 1):
        wanted = np.array([(start + _van_der_corput(place)) % 1.0])
        for attempt in range(_TRIES):
            # The archs of a size may be used up in a small space: after some tries any other size will do.
            row = draw_at(moment, wanted if attempt < _TRIES // 2 else rng.random(1))[0]
            if row.tobytes() not in taken:
                break
        else:
            row = _any_other(space, taken, rng)
        taken[row.tobytes()] = row
    return np.stack(list(taken.values()))


def _van_der_corput(place: int) -> float:
    """Van der Corput's sequence, 1/2, 1/4, 3/4, 1/8, ...: the binary digits of the place, mirrored."""
    return int(f"{place:b}"[::-1], 2) / 2 ** place.bit_length()


def _any_other(space: SearchSpace, taken: dict[bytes, Rows], rng: np.random.Generator) -> Rows:
    """An arch that was not taken; random walks reach every arch of a space."""
    row = next(iter(taken.values()))
    while row.tobytes() in taken:
        row = space.mutate(row[None], rng, rate=0.5)[0]
    return row
