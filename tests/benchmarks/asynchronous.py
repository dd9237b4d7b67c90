"""Whether promoting networks before their round is over (ASHA) pays with few workers: a simulation.

    python -m tests.benchmarks.asynchronous

Networks start in a random order, their order after a short training agrees with the last one by a Kendall's
tau of about a half, and an epoch of the slowest takes twice that of the fastest. The table has the time that
choosing takes, the share of it in which workers wait, and how often the best network of all is among those
that are chosen, as many as a recipe has finalists. "A System for Massively Parallel Hyperparameter Tuning"
(Li et al., MLSys 2020), algorithm 2.
"""

from __future__ import annotations

import argparse
import heapq
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.search.halving import Rung, rungs
from runners.recipe.ranking import Race

Floats = NDArray[np.float64]
KEEP, FIRST_EPOCHS, LAST = Race().keep, Race().epochs, Race().finalists


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A race that was simulated.

    Attributes:
        took: time until it was over, in epochs of a network of mean pace.
        waited: share of the workers' time in which they had nothing to train.
        best: whether the best of all networks was among those it chose.
    """

    took: float
    waited: float
    best: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """Networks of a race.

    Attributes:
        pace: time of an epoch of each, (n,).
        seen: score of each after each round, (rounds, n).
        last: what it will be after the final training, (n,).
    """

    pace: Floats
    seen: Floats
    last: Floats


def field(networks: int, rounds: int, rng: np.random.Generator) -> Field:
    """Networks drawn at random; what is seen of them is nearer to the end by the round."""
    last = rng.normal(size=networks)
    noise = [rng.normal(size=networks) / (place + 1) for place in range(rounds)]
    return Field(
        pace=rng.uniform(2 / 3, 4 / 3, networks), seen=np.stack([last + one for one in noise]), last=last
    )


def synchronous(given: Field, plan: tuple[Rung, ...], workers: int) -> Trial:
    """Each round begins when the one before is over."""
    running, now, busy = list(range(len(given.pace))), 0.0, 0.0
    for place, rung in enumerate(plan):
        running = running[: rung.networks]
        ends = [now] * workers
        for one in running:
            took = rung.epochs * given.pace[one]
            busy += took
            heapq.heapreplace(ends, ends[0] + took)
        now = max(ends)
        running.sort(key=lambda one: -given.seen[place, one])
    chosen = running[:LAST]
    return Trial(took=now, waited=1 - busy / (now * workers), best=int(given.last.argmax()) in chosen)


def asynchronous(given: Field, plan: tuple[Rung, ...], workers: int) -> Trial:
    """A free worker promotes who leads in what a round has done, one in ``KEEP``, the highest round first.

    Where nobody is, it begins another network; where there is none left either, it waits for the others to
    end.
    """
    rounds = len(plan)
    waiting, done = list(range(len(given.pace))), [list[int]() for _ in plan]
    begun = [set[int]() for _ in plan]
    running: list[tuple[float, int, int]] = []
    now, busy = 0.0, 0.0
    while True:
        while len(running) < workers and (job := _next(given, done, begun, waiting, rounds)):
            one, place = job
            begun[place].add(one)
            took = plan[place].epochs * given.pace[one]
            busy += took
            heapq.heappush(running, (now + took, one, place))
        if not running:
            break
        now, one, place = heapq.heappop(running)
        done[place].append(one)
    chosen = sorted(done[-1], key=lambda one: -given.seen[-1, one])[:LAST]
    return Trial(took=now, waited=1 - busy / (now * workers), best=int(given.last.argmax()) in chosen)


def _next(
    given: Field, done: list[list[int]], begun: list[set[int]], waiting: list[int], rounds: int
) -> tuple[int, int] | None:
    for place in range(rounds - 2, -1, -1):
        ranked = sorted(done[place], key=lambda one: -given.seen[place, one])
        for one in ranked[: len(ranked) // KEEP]:
            if one not in begun[place + 1]:
                return one, place + 1
    return (waiting.pop(0), 0) if waiting else None


def main() -> None:
    """Simulates both ways and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--races", type=int, default=2000, help="races of each line [2000]")
    options = parser.parse_args()
    ways: dict[str, Callable[[Field, tuple[Rung, ...], int], Trial]] = {
        "halving": synchronous,
        "ASHA": asynchronous,
    }
    print("| networks | workers | way | time, epochs | waiting | best is chosen |\n|---|---|---|---|---|---|")
    for networks, workers in ((18, 2), (24, 2), (24, 8)):
        plan = rungs(networks=networks, first_epochs=FIRST_EPOCHS, keep=KEEP, last=LAST)
        for name, way in ways.items():
            rng = np.random.default_rng(0)
            found = [way(field(networks, len(plan), rng), plan, workers) for _ in range(options.races)]
            took, waited, best = (
                float(np.mean([getattr(one, key) for one in found])) for key in ("took", "waited", "best")
            )
            print(f"| {networks} | {workers} | {name} | {took:.1f} | {waited:.0%} | {best:.0%} |", flush=True)


if __name__ == "__main__":
    main()
