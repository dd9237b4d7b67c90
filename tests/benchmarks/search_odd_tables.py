"""Regret of the default searcher on tables that are odd in one way each; it was not designed on them.

    python -m tests.benchmarks.search_odd_tables --seeds 3 --budget 200

Limits that a twentieth and a half of the archs meet. Evolution and random search are the comparison.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd

from nas.search.problem import Problem
from nas.search.searchers.evolution import Evolution
from nas.search.searchers.guided import Guided
from nas.search.searchers.random_search import RandomSearch
from search_spaces.tabular import TabularSpace
from tests.benchmarks.search_problems import OPS
from tests.benchmarks.search_regret import Account, Done, run_ours

Table = tuple[pd.DataFrame, np.ndarray, np.ndarray]
"""Columns of choices; accuracy; latency in ms."""
QUANTILES = (0.05, 0.5)
SEARCHERS: dict[str, Callable] = {"guided": Guided, "evolution": Evolution, "random": RandomSearch}


def grid(values: dict[str, tuple]) -> pd.DataFrame:
    return pd.DataFrame(list(itertools.product(*values.values())), columns=list(values))


def interacting(seed: int, *, noise: float = 0.02) -> Table:
    """Six operations; every pair of them interacts. ``noise`` is a share of the accuracies' spread."""
    rng = np.random.default_rng(seed)
    frame = grid({f"edge{i}": OPS for i in range(6)})
    codes = _codes(frame)
    effect = np.zeros(len(frame))
    for i in range(6):
        effect += rng.normal(size=5)[codes[:, i]]
    for i in range(6):
        for j in range(i):
            effect += 0.8 * rng.normal(size=(5, 5))[codes[:, i], codes[:, j]]
    effect = effect / effect.std()
    latency = rng.uniform(0.1, 1, (6, 5))[np.arange(6), codes].sum(axis=1)
    return frame, 0.8 + 0.04 * effect + 0.04 * noise * rng.standard_normal(len(frame)), latency


def ties(seed: int) -> Table:
    """Accuracy in steps of two points."""
    frame, accuracy, latency = interacting(seed)
    return frame, np.round(accuracy * 50) / 50, latency


def plateau(seed: int) -> Table:
    """The best 0.5 % are all as good as each other."""
    frame, accuracy, latency = interacting(seed)
    return frame, np.minimum(accuracy, np.quantile(accuracy, 0.995)), latency


def cliffs(seed: int) -> Table:
    """More than half of the archs do not train: 10 %."""
    rng = np.random.default_rng(seed + 99)
    frame, accuracy, latency = interacting(seed)
    codes = _codes(frame)
    bad = codes[:, 0] == rng.integers(5)
    bad |= codes[:, 2] == rng.integers(5)
    bad |= (codes[:, 3] + codes[:, 4]) % 3 == 0
    return frame, np.where(bad, 0.1, accuracy), latency


def holes(seed: int) -> Table:
    """60 % of the archs are not in the table."""
    frame, accuracy, latency = interacting(seed)
    kept = np.random.default_rng(seed + 98).random(len(frame)) >= 0.6
    return frame[kept].reset_index(drop=True), accuracy[kept], latency[kept]


def senseless_latency(seed: int) -> Table:
    """Latency says nothing about an arch."""
    frame, accuracy, latency = interacting(seed)
    return frame, accuracy, np.random.default_rng(seed).uniform(1, 2, len(latency))


def text(seed: int) -> Table:
    """Widths of five stages, written as text: nothing says that 16 is between 8 and 24."""
    rng = np.random.default_rng(seed)
    frame = grid({f"width{i}": ("8", "16", "24", "32", "40", "48", "56", "64") for i in range(5)})
    width = frame.astype(float).to_numpy()
    gain = rng.dirichlet(np.full(5, 3.0))
    accuracy = 0.7 + 0.2 * (np.log(width / 8) / np.log(8)) @ gain
    accuracy -= 0.01 * (np.abs(np.diff(np.log2(width), axis=1)) * rng.uniform(0.3, 1.2, 4)).sum(axis=1)
    latency = 1 + (width[:, :-1] * width[:, 1:]) @ rng.uniform(0.5, 2, 4) / 1e3
    return frame, accuracy + 0.002 * rng.standard_normal(len(frame)), latency


def graphs(seed: int) -> Table:
    """Cells of seven nodes: 21 edges that are there or not (at most 11), and five operations."""
    rng = np.random.default_rng(seed)
    wires = [(a, b) for b in range(7) for a in range(b)]
    edges, ops = rng.integers(0, 2, (60_000, 21)), rng.integers(0, 3, (60_000, 5))
    small = edges.sum(axis=1) <= 11
    edges, ops = edges[small], ops[small]
    alive, value = np.zeros((len(edges), 7)), np.zeros((len(edges), 7))
    alive[:, 0] = 1
    power = np.array([1.0, 0.5, 0.2]) * rng.lognormal(0, 0.1, 3)
    for column, (a, b) in enumerate(wires):
        on = edges[:, column] * alive[:, a]
        alive[:, b] = np.maximum(alive[:, b], on)
        value[:, b] = np.maximum(value[:, b], on * (value[:, a] + (power[ops[:, b - 1]] if b < 6 else 0)))
    trained = 0.94 - 0.15 * np.exp(-0.8 * value[:, 6]) + 0.002 * rng.standard_normal(len(edges))
    frame = pd.DataFrame(edges, columns=[f"edge{a}{b}" for a, b in wires])
    for index in range(5):
        frame[f"op{index}"] = np.array(["conv3", "conv1", "pool"])[ops[:, index]]
    once = (~frame.duplicated()).to_numpy()
    latency = 1 + 0.05 * edges.sum(axis=1) + np.array([0.9, 0.3, 0.1])[ops].sum(axis=1)
    accuracy = np.where(alive[:, 6] > 0, trained, 0.1)
    return frame[once].reset_index(drop=True), accuracy[once], latency[once]


def _codes(frame: pd.DataFrame) -> np.ndarray:
    return np.stack([frame[column].map(OPS.index).to_numpy() for column in frame], axis=1)


KINDS: dict[str, Callable[[int], Table]] = {
    "pairs interact": interacting,
    "ties": ties,
    "plateau": plateau,
    "cliffs": cliffs,
    "holes": holes,
    "half noise": partial(interacting, noise=0.5),
    "senseless latency": senseless_latency,
    "widths as text": text,
    "graphs": graphs,
}


def regret(make: Callable, space: TabularSpace, quantile: float, seed: int, stops: list[int]) -> list[float]:
    latency = space.scores["latency_ms"]
    limit = float(np.quantile(latency, quantile))
    account = Account(space, float(space.scores["accuracy"][latency <= limit].max()), max(stops))
    problem = Problem(space, {"accuracy": "max"}, {"latency_ms": limit}, space.costs("latency_ms"))
    with contextlib.suppress(Done):
        run_ours(make, problem, account, seed)
    return account.regrets(stops)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=int, default=200)
    arguments = parser.parse_args()
    stops = [stop for stop in (50, 100, 200, 500) if stop <= arguments.budget]
    print("| table | searcher | " + " | ".join(map(str, stops)) + " |")
    print("|---" * (len(stops) + 2) + "|")
    for kind, make_table in KINDS.items():
        found: dict[str, list[list[float]]] = {name: [] for name in SEARCHERS}
        for seed in range(arguments.seeds):
            frame, accuracy, latency = make_table(seed)
            scored = frame.assign(accuracy=accuracy, latency_ms=latency)
            space = TabularSpace.from_table(
                scored, choices=list(frame.columns), objectives=["accuracy", "latency_ms"]
            )
            for (name, make), quantile in itertools.product(SEARCHERS.items(), QUANTILES):
                found[name].append(regret(make, space, quantile, seed, stops))
        for name, values in found.items():
            means = " | ".join(f"{value:.2f}" for value in 100 * np.mean(values, axis=0))
            print(f"| {kind} | {name} | {means} |", flush=True)


if __name__ == "__main__":
    main()
