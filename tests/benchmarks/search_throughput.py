"""Candidates per second of NSGA-II where only costs and a fitted predictor are asked, on one core.

    python -m tests.benchmarks.search_throughput

The CIFAR-size preset, parameters and a made-up latency from tables as costs, a limit that half the archs
break, canonical de-duplication on. A candidate is an arch that was bred, repaired if need be, and kept or
known.
"""

from __future__ import annotations

import time

import numpy as np

from nas.predictors.encoding import Encoding
from nas.predictors.predictor import Predictor
from nas.predictors.process import Process
from nas.predictors.ridge import Ridge
from nas.search.feasible import Feasible
from nas.search.nsga2 import evolve
from nas.search.problem import Problem
from nas.search.threads import one_thread
from search_spaces.presets import preset
from search_spaces.space import Rows

POPULATION, GENERATIONS, REPEATS = 1000, 40, 5


def main() -> None:
    space = preset("cifar", classes=10, input_shape=(3, 32, 32))
    rng = np.random.default_rng(0)
    per_layer = rng.lognormal(-2, 0.7, len(space.layers))

    def costs(rows: Rows) -> dict[str, np.ndarray]:
        return {"latency_ms": space.sum_over_layers(rows, per_layer)}

    limit = float(np.median(costs(space.sample(2000, rng))["latency_ms"]))
    problem = Problem(space, {"accuracy": "max", "latency_ms": "min"}, {"latency_ms": limit}, costs)
    feasible, encode = Feasible(problem), Encoding(space, costs)
    told = feasible.sample(200, rng)
    accuracy = 0.9 - 1.0 / (1.0 + costs(told)["latency_ms"]) + 0.01 * rng.standard_normal(len(told))
    for name, predictor in (("ridge", Ridge()), ("process", Process(encode.blocks))):
        predictor.fit(encode(told), -accuracy)
        rates = [_rate(feasible, encode, predictor, seed) for seed in range(REPEATS)]
        print(
            f"NSGA-II on costs and {name}: {np.median(rates):,.0f} candidates/s "
            f"(median of {REPEATS}, {min(rates):,.0f} to {max(rates):,.0f}); "
            f"population {POPULATION}, {GENERATIONS} generations, {len(space.choices)} choices"
        )


def _rate(feasible: Feasible, encode: Encoding, predictor: Predictor, seed: int) -> float:
    def score(rows: Rows) -> np.ndarray:
        scores = feasible.problem.known(rows)
        scores[:, 0] = predictor.mean(encode(rows))
        return scores

    rng = np.random.default_rng(seed)
    start = time.process_time()
    with one_thread():
        evolve(feasible, score, feasible.sample(8, rng), rng, population=POPULATION, generations=GENERATIONS)
    return POPULATION * (GENERATIONS + 1) / (time.process_time() - start)


if __name__ == "__main__":
    main()
