"""The network whose blocks others learn: large, and with widths that something under the limit can have."""

from __future__ import annotations

from collections.abc import Sequence

from nas.blockwise import fitting_terms
from nas.costs.model.latency import LatencyModel
from nas.costs.model.reach import fastest_of
from runners.run.narrowing import LARGEST, most_within
from search_spaces.space import Arch, SearchSpace

_GAP = 0.02  # of the multiply-accumulates: whether a teacher is the very largest does not matter
_STEP = 0.8  # from one bound on the teacher's latency to the next
_ROOM = 0.7  # of the limit, that the fastest with the teacher's widths takes at most: else it is no choice


def teacher_arch(space: SearchSpace, models: Sequence[LatencyModel], limit_ms: float) -> Arch:
    """The network with the most multiply-accumulates within four times the limit that can teach.

    Only networks of its widths can learn its blocks. Where all of these are over the limit, or nearly, a
    teacher within a tighter bound is looked for, down to the limit itself.

    Args:
        space: space of slots.
        models: latency model of each form that a network can be handed over in.
        limit_ms: limit on the latency.

    Raises:
        ValueError: no network is under the limit.
    """
    times = LARGEST
    while True:
        times = max(times, 1.0)
        rows = [most_within(space, {}, model, times * limit_ms, gap=_GAP) for model in models]
        found = [one for one in rows if one is not None]
        for one in sorted(found, key=lambda each: each.loss):
            arch = space.to_arch(one.row)
            fits = fitting_terms(space, arch)
            least_ms = min(fastest_of(space, model, fits)[0] for model in models)
            if least_ms <= _ROOM * limit_ms or times == 1.0:
                return arch
        if times == 1.0:
            least_ms, row = min((fastest_of(space, model, []) for model in models), key=lambda one: one[0])
            if row is not None and least_ms <= limit_ms:
                return space.to_arch(row)
            raise ValueError(
                f"no network of space {space.name!r} takes {limit_ms:.4g} ms or less: raise search.latency_ms"
            )
        times *= _STEP
