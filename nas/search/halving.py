"""Successive halving: many networks for a short time, the better ones for longer.

"Non-stochastic Best Arm Identification and Hyperparameter Optimization" (Jamieson and Talwalkar, AISTATS
2016), section 3; the rungs are those of "A System for Massively Parallel Hyperparameter Tuning" (Li et al.,
MLSys 2020), each as costly as the one before. Networks of a rung are trained at once and the next begins when
all are done: promoting early, as theirs do, would gain little with a few workers (docs/alone.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

Candidate = TypeVar("Candidate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One round: so many networks, each trained for so many epochs."""

    networks: int
    epochs: int

    @property
    def cost(self) -> int:
        """Epochs of all its networks together."""
        return self.networks * self.epochs


def rungs(*, networks: int, first_epochs: int, keep: int, last: int) -> tuple[Rung, ...]:
    """The rungs down to the networks that are trained to the end; the final training is none of them.

    Args:
        networks: networks of the first rung.
        first_epochs: epochs of the first rung; each further one has ``keep`` times as many.
        keep: one network in so many goes on.
        last: networks that go on from the last rung.

    Returns:
        The rungs, none where there are no more networks than ``last``.

    Raises:
        ValueError: a number out of range.
    """
    if networks < 1 or first_epochs < 1 or keep < 2 or last < 1:
        raise ValueError(
            f"halving needs networks, epochs and finalists of 1 or more and keep of 2 or more, got "
            f"{networks}, {first_epochs}, {last} and {keep}"
        )
    found = []
    while networks > last:
        found.append(Rung(networks=networks, epochs=first_epochs))
        networks, first_epochs = max(last, networks // keep), first_epochs * keep
    return tuple(found)


def affordable(epochs: float, *, first_epochs: int, keep: int, last: int, most: int) -> tuple[Rung, ...]:
    """The widest halving whose rungs cost no more than that many epochs of all networks together.

    Args:
        epochs: what may be spent; none where it does not pay for two networks and a choice between them.
        first_epochs: epochs of the first rung.
        keep: one network in so many goes on.
        last: networks that go on from the last rung.
        most: networks that there are.
    """
    best: tuple[Rung, ...] = ()
    for networks in range(last + 1, most + 1):
        found = rungs(networks=networks, first_epochs=first_epochs, keep=keep, last=last)
        if sum(rung.cost for rung in found) <= epochs:
            best = found
    return best


def promoted(candidates: Sequence[Candidate], scores: Sequence[float | None]) -> list[Candidate]:
    """Candidates with a score, best first, equal ones in the order given.

    Args:
        candidates: what was trained.
        scores: score of each; None or NaN, which a failed training has, never goes on.
    """
    usable = [
        (-score, place) for place, score in enumerate(scores) if score is not None and not math.isnan(score)
    ]
    return [candidates[place] for _, place in sorted(usable)]
