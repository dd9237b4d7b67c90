"""Hypervolume of every searcher on a trained supernet, against random search, over many seeds.

    quarry train digits --out runs/digits && quarry measure --out runs/digits
    python -m tests.benchmarks.search_supernet runs/digits --budget 100 --seeds 10

The run must be trained and measured; its limit is the search's. All searchers have the same evaluator,
limits, budget and seeds. An arch is scored once, whoever asks for it (its score does not depend on what was
scored before): scores are kept in OUT, so the command goes on where it was stopped. The volume is the one
above chance accuracy and under the limit.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from nas.search import search
from results.files import append_line, read_lines
from results.front import hypervolume
from results.statistics import wilcoxon
from runners.run.sequence import opened
from runners.scoring.subnets import evaluator_of
from runners.stages.search import Searching
from search_spaces.space import Arch

CONTROL = "random"
SHARES = (0.25, 0.5, 1.0)  # of the budget at which the volume is looked at


class Scores:
    """Accuracies of archs, each computed once and kept in a file."""

    def __init__(self, work: Searching, path: Path, n_images: int) -> None:
        whole = evaluator_of(work.supernet, work.data)
        self._evaluate = replace(whole, images=whole.images[:n_images], labels=whole.labels[:n_images])
        self._space, self._path = work.space, path
        self._known = {line["row"]: line["accuracy"] for line in read_lines(path)}

    def __call__(self, arch: Arch) -> dict[str, float]:
        row = ",".join(map(str, self._space.to_row(arch).tolist()))
        if row not in self._known:
            self._known[row] = self._evaluate(arch)["accuracy"]
            append_line(self._path, {"row": row, "accuracy": self._known[row]})
        return {"accuracy": self._known[row]}


def main() -> None:
    """Searches and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--budget", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--searchers", nargs="+", default=["guided", "nsga2", "optuna_tpe"])
    parser.add_argument("--images", type=int, default=1000, help="validation images an arch is scored on")
    parser.add_argument("--out", type=Path, default=Path("build"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with opened(arguments.run, None) as made:
        work = made.searching
        name = f"{work.name}-{arguments.images}"
        scores = Scores(work, arguments.out / f"scores-{name}.jsonl", arguments.images)
        limit_ms, costs = work.limit_ms, work.costs
        corner = (-1 / len(work.data.classes), limit_ms)
        volumes: dict[str, list[list[float]]] = {}
        for seed in range(arguments.seeds):
            for searcher in (CONTROL, *arguments.searchers):
                trials = search(
                    work.space,
                    scores,
                    objectives={"accuracy": "max", "latency_ms": "min"},
                    constraints={"latency_ms": limit_ms},
                    costs=costs,
                    searcher=searcher,
                    budget=arguments.budget,
                    seed=seed,
                ).trials
                points = np.column_stack([-trials["accuracy"], trials["latency_ms"]])
                stops = [round(share * arguments.budget) for share in SHARES]
                found = [hypervolume(points[:stop], corner) for stop in stops]
                volumes.setdefault(searcher, []).append(found)
                print(f"seed {seed}, {searcher}: {found[-1]:.5f}", flush=True)
    print(table(volumes, arguments.budget, limit_ms))


def table(volumes: dict[str, list[list[float]]], budget: int, limit_ms: float) -> str:
    """Medians over seeds beside random search's, with a paired, two-sided signed-rank test."""
    control = np.array(volumes[CONTROL])
    heads = " | ".join(f"{round(share * budget)} evaluations" for share in SHARES)
    lines = [f"| searcher | {heads} |", "|---" * (len(SHARES) + 1) + "|"]
    for searcher, found in volumes.items():
        values = np.array(found)
        cells = [_cell(values[:, i], control[:, i], searcher) for i in range(len(SHARES))]
        lines.append(f"| {searcher} | " + " | ".join(cells) + " |")
    lines.append(
        f"\nMedian hypervolume over {len(control)} seeds, as a share of random search's; p of a paired, "
        f"two-sided signed-rank test; limit {limit_ms:.4g} ms."
    )
    return "\n".join(lines)


def _cell(values: Sequence[float] | np.ndarray, control: np.ndarray, searcher: str) -> str:
    share = f"{np.median(values / control):.3f}"
    return share if searcher == CONTROL else f"{share} (p {wilcoxon(values, control):.3f})"


if __name__ == "__main__":
    main()
