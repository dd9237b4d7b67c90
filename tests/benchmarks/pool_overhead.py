"""What the Ray pool costs: its overhead on a 100 ms evaluation, and what a second worker adds.

Run as ``python -m tests.benchmarks.pool_overhead`` on a quiet machine with at least two cores. The work is
arithmetic in plain Python, a fixed amount chosen to take 100 ms of one core here; nothing sleeps.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from nas.search.pool import Evaluate, Pool, SerialPool
from runners.pools.evaluate_all import evaluate_all
from runners.pools.ray_pool import RayPool
from runners.pools.ray_session import import_ray
from search_spaces.space import Arch

EVALUATION_SECONDS = 0.1
EVALUATIONS = 40
ROUNDS = 7


def make_evaluator(arrays: Mapping[str, NDArray[Any]]) -> Evaluate:
    del arrays
    return work


def work(arch: Arch) -> dict[str, float]:
    total = 0
    for value in range(int(arch["additions"])):
        total += value
    return {"total": float(total)}


def additions_for(seconds: float) -> int:
    """How many additions take that long on one core, by the fastest of several tries."""
    trial = 1_000_000
    times = []
    for _ in range(7):
        start = time.perf_counter()
        work({"additions": trial})
        times.append(time.perf_counter() - start)
    return int(trial * seconds / min(times))


def round_seconds(pool: Pool, additions: int) -> tuple[float, float]:
    """Wall-clock seconds of a round, and the seconds its evaluators say they worked."""
    archs = [(ticket, {"additions": additions}) for ticket in range(EVALUATIONS)]
    start = time.perf_counter()
    done = evaluate_all(pool, archs, lambda outcome: None)
    return time.perf_counter() - start, sum(outcome.seconds for outcome in done)


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def main() -> None:
    additions = additions_for(EVALUATION_SECONDS)
    serial = SerialPool(work)
    overheads: list[float] = []
    against_serial: list[float] = []
    gains: list[float] = []
    ray = import_ray()
    ray.init(address="local", num_cpus=3, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    with RayPool(make_evaluator, workers=1) as one, RayPool(make_evaluator, workers=2) as two:
        for pool in (one, two, one, two):  # every worker is up after this
            round_seconds(pool, additions)
        for _ in range(ROUNDS):  # interleaved, so that a drift of the machine meets all three
            alone = round_seconds(serial, additions)[0]
            single, worked = round_seconds(one, additions)
            double = round_seconds(two, additions)[0]
            overheads.append(single / worked - 1)
            against_serial.append(single / alone - 1)
            gains.append(single / double)
    ray.shutdown()
    print(f"{EVALUATIONS} evaluations of {1000 * EVALUATION_SECONDS:g} ms, {ROUNDS} rounds: median (range)")
    print(f"overhead of the pool, of the evaluation's own time  {spread(overheads)}   wanted < 0.10")
    print(f"one worker's time over the serial pool's, less 1    {spread(against_serial)}")
    print(f"work of two workers over the work of one            {spread(gains)}   wanted >= 1.8")


if __name__ == "__main__":
    main()
