"""Candidates per second of NSGA-II where only costs and a fitted predictor are asked, on one core.

    python -m tests.benchmarks.search_throughput

The CIFAR-size preset, parameters and a made-up latency from tables as costs, a limit that half the archs
break, canonical de-duplication on. A candidate is an arch that was bred, repaired if need be, and kept or
known; seconds are wall-clock. pymoo's NSGA-II, where installed, takes turns with ours on as many integers in
[0, 3], with sums as objectives, no limit and no predictor.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from nas.predictors.encoding import Encoding
from nas.predictors.predictor import Predictor
from nas.predictors.process import Process
from nas.predictors.ridge import Ridge
from nas.predictors.threads import one_thread
from nas.search.feasible import Feasible
from nas.search.problem import Problem
from nas.search.searchers.guided import Guided
from nas.search.searchers.nsga2 import evolve
from search_spaces.space import Rows
from search_spaces.spaces.presets import preset

POPULATION, GENERATIONS, REPEATS = 1000, 40, 5


def main() -> None:
    rates = _contestants()
    measured: dict[str, list[float]] = {name: [] for name in rates}
    with one_thread():
        for seed in range(REPEATS):
            for name, rate in rates.items():
                measured[name].append(rate(seed))
    for name, found in measured.items():
        print(
            f"{name}: {np.median(found):,.0f} candidates/s "
            f"(median of {REPEATS}, {min(found):,.0f} to {max(found):,.0f})"
        )
    print(f"population {POPULATION}, {GENERATIONS} generations")
    for scored in (100, 500, 1000, 2000):
        print(f"guided with {scored} archs scored: {_proposal_seconds(scored):.2f} s a proposal")


def _problem(rng: np.random.Generator) -> Problem:
    space = preset("cifar", classes=10, input_shape=(3, 32, 32))
    per_layer = rng.lognormal(-2, 0.7, len(space.layers))

    def costs(rows: Rows) -> dict[str, np.ndarray]:
        return {"latency_ms": space.sum_over_layers(rows, per_layer)}

    limit = float(np.median(costs(space.sample(2000, rng))["latency_ms"]))
    return Problem(space, {"accuracy": "max", "latency_ms": "min"}, {"latency_ms": limit}, costs)


def _accuracy(problem: Problem, rows: Rows, rng: np.random.Generator) -> np.ndarray:
    return 0.9 - 1.0 / (1.0 + problem.costs(rows)["latency_ms"]) + 0.01 * rng.standard_normal(len(rows))


def _contestants() -> dict[str, Callable[[int], float]]:
    """What takes turns, by name: seed to candidates per second."""
    rng = np.random.default_rng(0)
    problem = _problem(rng)
    space, feasible, encode = problem.space, Feasible(problem), Encoding(problem.space, problem.costs)
    told = feasible.sample(200, rng)
    accuracy = _accuracy(problem, told, rng)
    made: dict[str, Callable[[int], float]] = {}
    for name, predictor in (("ridge", Ridge()), ("process", Process(encode.blocks))):
        predictor.fit(encode(told), -accuracy)
        made[f"NSGA-II on costs and {name}"] = partial(_rate, feasible, encode, predictor)
    if importlib.util.find_spec("pymoo"):
        made["pymoo's NSGA-II on two sums"] = partial(_pymoo_rate, len(space.choices))
    return made


def _rate(feasible: Feasible, encode: Encoding, predictor: Predictor, seed: int) -> float:
    def score(rows: Rows) -> np.ndarray:
        scores = feasible.problem.known(rows)
        scores[:, 0] = predictor.mean(encode(rows))
        return scores

    rng = np.random.default_rng(seed)
    start = time.perf_counter()
    evolve(feasible, score, feasible.sample(8, rng), rng, population=POPULATION, generations=GENERATIONS)
    return POPULATION * (GENERATIONS + 1) / (time.perf_counter() - start)


def _proposal_seconds(scored: int) -> float:
    """The median seconds of one core for a proposal, when that many archs were told."""
    rng = np.random.default_rng(0)
    problem = _problem(rng)
    guided = Guided(problem, 0)
    rows = np.unique(Feasible(problem).sample(scored, rng), axis=0)
    seconds = []
    for _ in range(6):  # the first learns the relevances
        scores = problem.known(rows)
        scores[:, 0] = -_accuracy(problem, rows, rng)
        guided.tell(rows, scores)
        start = time.process_time()
        rows = guided.ask(1)
        seconds.append(time.process_time() - start)
    return float(np.median(seconds[1:]))


def _pymoo_rate(n_choices: int, seed: int) -> float:
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.problem import Problem as PymooProblem
    from pymoo.operators.crossover.ux import UniformCrossover
    from pymoo.operators.mutation.pm import PolynomialMutation
    from pymoo.operators.repair.rounding import RoundingRepair
    from pymoo.operators.sampling.rnd import IntegerRandomSampling
    from pymoo.optimize import minimize

    class Sums(PymooProblem):
        def __init__(self) -> None:
            super().__init__(n_var=n_choices, n_obj=2, xl=0, xu=3, vtype=int)

        def _evaluate(self, x: np.ndarray, out: dict, *args: object, **kwargs: object) -> None:  # noqa: ARG002
            total = x.sum(axis=1)
            out["F"] = np.column_stack([total, (x - 3.0).cumsum(axis=1)[:, n_choices // 2] ** 2])

    algorithm = NSGA2(
        pop_size=POPULATION,
        sampling=IntegerRandomSampling(),
        crossover=UniformCrossover(),
        mutation=PolynomialMutation(repair=RoundingRepair()),
        eliminate_duplicates=True,
    )
    start = time.perf_counter()
    done = minimize(Sums(), algorithm, ("n_gen", GENERATIONS + 1), seed=seed, verbose=False)
    return float(done.algorithm.evaluator.n_eval / (time.perf_counter() - start))


if __name__ == "__main__":
    main()
