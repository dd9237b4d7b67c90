"""How much to cut for a speed-up: found on files, since no table knows a whole network exactly."""

from __future__ import annotations

from collections.abc import Callable

from compress.pruning.channels import Cut
from compress.pruning.prune import Prepared

_LEAST, _MOST, _TRIES = 0.02, 0.98, 7


def cuts_for_speedup(
    prepared: Prepared, goal: float, speedup: Callable[[tuple[Cut, ...]], float]
) -> tuple[Cut, ...]:
    """The cuts of the largest share whose network is fast enough, by halving.

    Args:
        prepared: Network to be cut.
        goal: Speed-up to reach, above 1.
        speedup: Measured speed-up of the network with those cuts.

    Raises:
        ValueError: the goal is out of reach; says what the smallest network reaches.
    """
    known: dict[tuple[Cut, ...], float] = {(): 1.0}

    def reached(share: float) -> bool:
        cuts = prepared.cuts(share)
        if cuts not in known:
            known[cuts] = speedup(cuts)
        return known[cuts] >= goal

    if not reached(_LEAST):
        fastest = max(known.values())
        raise ValueError(
            f"pruning does not make it {goal:.4g} times as fast: with the fewest channels that are allowed "
            f"it is {fastest:.4g} times as fast"
        )
    low, high = _LEAST, _MOST
    for _ in range(_TRIES):
        middle = (low + high) / 2
        low, high = (middle, high) if reached(middle) else (low, middle)
    return prepared.cuts(low)
