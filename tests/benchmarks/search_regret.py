"""Regret of every searcher to the constrained optimum, at equal evaluations, on generated tables.

    python -m tests.benchmarks.search_regret --seeds 20 --out build/search_regret.jsonl
    python -m tests.benchmarks.search_regret --searchers optuna_tpe --out build/search_regret.jsonl
    python -m tests.benchmarks.search_regret --table --out build/search_regret.jsonl

    python -m tests.benchmarks.search_regret --run RUN --scores build/scores-cifar10-500.jsonl --seeds 5

The last is on a trained supernet: the archs that tests.benchmarks.search_supernet scored on it are the
table, with latencies as its run predicts them. Searchers are confined to these archs, so each score is a
real one and the optimum is known; but most neighbours of an arch are missing, which is hard on searchers
that mutate, and the archs are those that earlier searches chose.

All searchers see the same limit before an evaluation is spent. A run that has found the optimum is over: its
regret stays zero. Finished runs are kept in the file, so the command continues where it was stopped, seed by
seed; several commands may write one file, each for searchers of its own (TPE takes most of the time).
pymoo is compared where it is installed (pip install pymoo).
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from nas.search.problem import Problem
from nas.search.searchers.evolution import Evolution
from nas.search.searchers.guided import Guided
from nas.search.searchers.local_search import LocalSearch
from nas.search.searchers.nsga2 import Nsga2
from nas.search.searchers.optuna_samplers import OptunaNsga2, OptunaTpe
from nas.search.searchers.random_search import RandomSearch
from results.files import append_line, read_lines
from search_spaces.tabular import TabularSpace
from tests.benchmarks.search_problems import PROBLEMS

BUDGETS = (50, 100, 200, 500)
QUANTILES = (0.25, 0.5, 0.75)
OURS: dict[str, Callable] = {
    "guided": Guided,
    "random": RandomSearch,
    "evolution": Evolution,
    "nsga2": Nsga2,
    "local": LocalSearch,
    "optuna_nsga2": OptunaNsga2,
    "optuna_tpe": OptunaTpe,
}


class Done(Exception):
    """The budget is spent or the optimum found."""


class Account:
    """Accuracies paid for so far."""

    def __init__(self, space: TabularSpace, optimum: float, budget: int) -> None:
        self._evaluate = space.evaluator("accuracy")
        self._space, self._optimum, self._budget = space, optimum, budget
        self.best: list[float] = []

    def pay(self, row: np.ndarray) -> float:
        accuracy = self._evaluate(self._space.to_arch(row))["accuracy"]
        self.best.append(max(accuracy, *self.best[-1:]) if self.best else accuracy)
        return accuracy

    def check(self) -> None:
        if len(self.best) >= self._budget or self.best[-1] >= self._optimum:
            raise Done

    def regrets(self, stops: Sequence[int]) -> list[float]:
        """How far the best so far was under the optimum after so many evaluations."""
        return [self._optimum - self.best[min(stop, len(self.best)) - 1] for stop in stops]


def run_ours(make: Callable, problem: Problem, account: Account, seed: int) -> None:
    searcher = make(problem, seed)
    while len(rows := searcher.ask(1)):
        scores = np.array([[-account.pay(rows[0])]])
        account.check()
        searcher.tell(rows, scores)


def run_pymoo(problem: Problem, account: Account, seed: int) -> None:
    """pymoo's NSGA-II for mixed variables; archs over the limit cost nothing and are told so."""
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.evaluator import Evaluator
    from pymoo.core.mixed import MixedVariableDuplicateElimination, MixedVariableMating, MixedVariableSampling
    from pymoo.core.problem import Problem as PymooProblem
    from pymoo.core.variable import Choice, Integer
    from pymoo.problems.static import StaticProblem

    space = problem.space
    variables = {
        choice.name: Choice(options=list(range(n))) if choice.categorical else Integer(bounds=(0, n - 1))
        for choice, n in zip(space.choices, space.n_values.tolist(), strict=True)
    }
    described = PymooProblem(vars=variables, n_obj=1, n_ieq_constr=1)
    algorithm = NSGA2(
        pop_size=20,
        sampling=MixedVariableSampling(),
        mating=MixedVariableMating(eliminate_duplicates=MixedVariableDuplicateElimination()),
        eliminate_duplicates=MixedVariableDuplicateElimination(),
    )
    algorithm.setup(described, termination=("n_gen", 3000), seed=seed, verbose=False)
    paid: dict[bytes, float] = {}
    idle = 0
    while algorithm.has_next() and idle < 300:
        asked, before = algorithm.ask(), len(paid)
        rows = np.array([[int(x[name]) for name in space.names] for x in asked.get("X")], dtype=np.int64)
        over = np.where(space.valid(rows), problem.violation(rows), 10.0)
        scores = np.ones((len(rows), 1))
        for index in np.flatnonzero(over == 0):
            key = rows[index].tobytes()
            if key not in paid:
                paid[key] = -account.pay(rows[index])
                account.check()
            scores[index] = paid[key]
        idle = 0 if len(paid) > before else idle + 1
        Evaluator().eval(StaticProblem(described, F=scores, G=over[:, None]), asked)
        algorithm.tell(infills=asked)


@cache
def table_of(kind: str, seed: int) -> TabularSpace:
    """One generated table; made once, since making it takes as long as a quick search."""
    return PROBLEMS[kind](seed)


def supernet_table(path: Path, scores: Path) -> TabularSpace:
    """The archs that were scored on the supernet of a run, with the latencies the run predicts."""
    from runners.run.sequence import opened

    with opened(path, None) as made:
        accuracy = {line["row"]: line["accuracy"] for line in read_lines(scores)}
        rows = np.array([[int(index) for index in row.split(",")] for row in accuracy])
        latency_ms = made.searching.costs(rows)["latency_ms"]
        columns = {"accuracy": np.array([*accuracy.values()]), "latency_ms": latency_ms}
        return TabularSpace("supernet", made.space.choices, rows, columns)


def regrets(name: str, kind: str, quantile: float, seed: int) -> dict:
    space = table_of(kind, seed % 4)
    latency = space.scores["latency_ms"]
    limit = float(np.quantile(latency, quantile))
    optimum = float(space.scores["accuracy"][latency <= limit].max())
    problem = Problem(space, {"accuracy": "max"}, {"latency_ms": limit}, space.costs("latency_ms"))
    account = Account(space, optimum, max(BUDGETS))
    start = time.perf_counter()
    try:
        if name == "pymoo_nsga2":
            run_pymoo(problem, account, seed)
        else:
            run_ours(OURS[name], problem, account, seed)
    except Done:
        pass
    seconds = time.perf_counter() - start
    return {
        "searcher": name,
        "problem": kind,
        "quantile": quantile,
        "seed": seed,
        "regret": account.regrets(BUDGETS),
        "evaluations": len(account.best),
        "seconds": seconds,
    }


def table(path: Path) -> str:
    """Mean regret of each searcher, the default's on the same pairs behind it, and a paired test.

    A pair is the same problem, limit and seed. The test is Wilcoxon's signed-rank test, one-sided, corrected
    by Holm over all tests of a kind of problem.
    """
    runs = {(r["searcher"], r["problem"], r["quantile"], r["seed"]): r["regret"] for r in read_lines(path)}
    lines = [
        "| problem | searcher | pairs | " + " | ".join(map(str, BUDGETS)) + " |",
        "|---" * (len(BUDGETS) + 3) + "|",
    ]
    kinds = list(dict.fromkeys(problem for _, problem, _, _ in runs))
    for kind in ["all", *kinds] if len(kinds) > 1 else kinds:
        pairs = {name: _pairs(runs, name, kind) for name in [*OURS, "pymoo_nsga2"] if name != "guided"}
        p_values = {name: _p_values(*found) for name, found in pairs.items() if len(found[0])}
        names = [*p_values]
        corrected = holm(np.array([p_values[name] for name in names]).ravel()).reshape(len(names), -1)
        for name, p in zip(names, corrected, strict=True):
            theirs, ours = (100 * values.mean(axis=0) for values in pairs[name])
            cells = [
                f"{a:.3f} / {b:.3f}{' *' if q < 0.05 else ''}"
                for a, b, q in zip(theirs, ours, p, strict=True)
            ]
            lines.append(f"| {kind} | {name} | {len(pairs[name][0])} | " + " | ".join(cells) + " |")
    lines.append("\nPoints of accuracy: the searcher's / guided's on the same pairs; * guided is better,")
    lines.append("one-sided signed-rank test, p < 0.05 after Holm's correction within a kind.")
    return "\n".join(lines)


def _pairs(runs: dict, name: str, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Regrets of a searcher and of the default where both ran, (pairs, budgets) each."""
    here = sorted(key for key in runs if key[0] == name and kind in (key[1], "all"))
    both = [key for key in here if ("guided", *key[1:]) in runs]
    theirs = np.array([runs[key] for key in both])
    return theirs, np.array([runs[("guided", *key[1:])] for key in both])


def _p_values(theirs: np.ndarray, ours: np.ndarray) -> list[float]:
    from scipy.stats import wilcoxon

    gaps = (theirs - ours).T
    return [float(wilcoxon(gap, alternative="greater").pvalue) if gap.any() else 1.0 for gap in gaps]


def holm(p_values: np.ndarray) -> np.ndarray:
    """The p-values of tests made together, corrected by Holm's method."""
    order = np.argsort(p_values)
    scaled = np.maximum.accumulate(p_values[order] * np.arange(len(order), 0, -1))
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(scaled, 1.0)
    return corrected


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("build/search_regret.jsonl"))
    parser.add_argument("--table", action="store_true", help="only print what was measured")
    parser.add_argument("--searchers", nargs="*", help="only these")
    parser.add_argument("--run", type=Path, help="a trained and measured run, in place of generated tables")
    parser.add_argument("--scores", type=Path, help="what search_supernet scored on it")
    arguments = parser.parse_args()
    kinds = [*PROBLEMS]
    if arguments.run:
        given = supernet_table(arguments.run, arguments.scores)
        kinds = ["supernet"]
        PROBLEMS["supernet"] = lambda seed: given  # the same for every seed
    names = arguments.searchers or [*OURS] + (["pymoo_nsga2"] if importlib.util.find_spec("pymoo") else [])
    done = {(r["searcher"], r["problem"], r["quantile"], r["seed"]) for r in read_lines(arguments.out)}
    for seed in range(0 if not arguments.table else arguments.seeds, arguments.seeds):
        for kind in kinds:
            for quantile in QUANTILES:
                for name in names:
                    if (name, kind, quantile, seed) not in done:
                        append_line(arguments.out, regrets(name, kind, quantile, seed))
    print(table(arguments.out))


if __name__ == "__main__":
    main()
