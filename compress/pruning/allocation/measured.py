"""NetAdapt: channels go where they buy the most measured time for the least loss, a little at a time."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from compress.pruning.allocation.allocating import ALLOCATIONS, TARGET, Allocating

_MOST_ROUNDS = 200


@ALLOCATIONS.register("measured", needs={TARGET})
def measured(
    asked: Allocating,
    *,
    step: Annotated[float, Field(gt=0, lt=1)] = 0.05,
    decay: Annotated[float, Field(gt=0, le=1)] = 0.98,
) -> list[int]:
    """Greedy cuts by the target's latency, layer for layer, until as much is saved as an even cut would.

    "NetAdapt: Platform-Aware Neural Network Adaptation for Mobile Applications" (Yang et al., ECCV 2018),
    algorithm 1, as FastDepth prunes: each round asks of each group alone the fewest channels whose loss saves
    the round's milliseconds, by a table of measured layers that is filled as it is asked, and makes the cut
    whose network has the least loss for what it saves. There each proposal is trained for a while first; here
    training follows the whole cut, or each round of the step's ``rounds``. Without a loss the change of the
    outputs is looked at.

    Args:
        asked: Channels to be shared out.
        step: Share of the whole latency that the first round saves.
        decay: Factor by which each round saves less than the one before.
    """
    times = asked.times
    assert times is not None
    kept = [group.channels for group in asked.groups]
    budget = asked.cost(asked.evenly(asked.keep))
    now = asked.cost(kept)
    saving, damage = step * now, asked.damage(kept)
    for _ in range(_MOST_ROUNDS):
        if now <= budget:
            break
        wanted = max(min(saving, now - budget), 1e-9)
        best: tuple[float, int, int, float, float] | None = None
        for index in range(len(kept)):
            count, cost = _fewest_cut(asked, kept, index, now - wanted)
            if cost >= now:
                continue
            lost = asked.damage([*kept[:index], count, *kept[index + 1 :]])
            offer = ((lost - damage) / (now - cost), index, count, cost, lost)
            best = offer if best is None or offer < best else best
        if best is None:  # no group has a smaller count that is faster
            break
        _, index, kept[index], now, damage = best
        saving *= decay
    return kept


def _fewest_cut(asked: Allocating, kept: list[int], index: int, goal: float) -> tuple[int, float]:
    """The largest smaller count of a group whose cost meets the goal, or else the cheapest; and the cost."""
    offers = [
        (count, asked.cost([*kept[:index], count, *kept[index + 1 :]]))
        for count in asked.allowed[index]
        if count < kept[index]
    ]
    meeting = [offer for offer in offers if offer[1] <= goal]
    if meeting:
        return max(meeting)
    return min(offers, key=lambda offer: offer[1], default=(kept[index], asked.cost(kept)))
