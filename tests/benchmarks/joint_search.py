"""One search over archs and number formats beside a search of archs and then int8, at equal evaluations.

    quarry run digits --out runs/joint --set space.precisions=stage
    python -m tests.benchmarks.joint_search runs/joint --budget 60 --seeds 3

The run must be trained and measured; its limit is the search's. Both ways have the same searcher, supernet,
images and costs. *then int8* searches archs by their float accuracy, each at the latency of its faster
uniform format, as a run without ``space.precisions`` does; up to a quarter of its budget goes to scoring the
best of those that will be int8 once more, as such (others are known by then). *joint* spends all on archs
with formats. Accuracies have int8 simulated, so nothing is exported here. The regret is to the best that
either way found in any seed; the front's volume is above chance and under the limit; the held-back accuracy
is of the best on images that no search saw.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from nas.search import search
from results.files import append_line, read_lines
from results.front import hypervolume
from runners.run.sequence import opened
from runners.scoring.subnets import SubnetEvaluator
from runners.stages.search import Searching, evaluators
from search_spaces.space import Arch, Rows, SearchSpace
from search_spaces.spaces.narrowed import lifting, narrowed

OBJECTIVES = {"accuracy": "max", "latency_ms": "min"}
QUANTIZED = 1 / 4
"""Share of the budget of *then int8*, at most, that is spent on scoring archs as int8."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a way found under the limit in one seed: accuracies and latencies that were scored as deployed."""

    way: str
    archs: list[Arch]
    accuracy: NDArray[np.float64]
    latency_ms: NDArray[np.float64]


class Scores:
    """Accuracies of archs, each computed once and kept in a file."""

    def __init__(self, evaluate: SubnetEvaluator, path: Path) -> None:
        self._evaluate, self._path = evaluate, path
        self._name = evaluate.fingerprint()
        self._known = {line["row"]: line["accuracy"] for line in read_lines(path) if line["by"] == self._name}

    def __call__(self, arch: Arch) -> dict[str, float]:
        row = ",".join(map(str, self._evaluate.supernet.space.to_row(arch).tolist()))
        if row not in self._known:
            self._known[row] = self._evaluate(arch)["accuracy"]
            append_line(self._path, {"by": self._name, "row": row, "accuracy": self._known[row]})
        return {"accuracy": self._known[row]}


def joint(work: Searching, scores: Scores, budget: int, seed: int) -> Found:
    """All evaluations on archs with formats."""
    trials = _trials(work, work.space, scores, work.costs, budget, seed)
    archs = [{name: trial[name] for name in work.space.names} for trial in trials.to_dict("records")]
    return Found(
        way="joint",
        archs=archs,
        accuracy=trials["accuracy"].to_numpy(),
        latency_ms=trials["latency_ms"].to_numpy(),
    )


def then_int8(work: Searching, scores: Scores, budget: int, seed: int) -> Found:
    """Archs by float accuracy first; the most accurate of them again, in their faster uniform format."""
    space = work.space
    formats = [name for name in space.names if name.endswith(".precision")]
    plain = narrowed(space, dict.fromkeys(formats, ("fp32",)))
    lift = lifting(plain, space)
    columns = [space.column[name] for name in formats]

    def uniform(rows: Rows, precision: str) -> Rows:
        lifted = lift(rows).copy()
        lifted[:, columns] = [space.choices[one].values.index(precision) for one in columns]
        return space.canonical(lifted)

    def faster(rows: Rows) -> tuple[Rows, Mapping[str, NDArray[np.float64]]]:
        both = [uniform(rows, precision) for precision in ("fp32", "int8")]
        costs = [work.costs(one) for one in both]
        int8 = costs[1]["latency_ms_upper"] < costs[0]["latency_ms_upper"]
        found = {name: np.where(int8, costs[1][name], costs[0][name]) for name in costs[0]}
        return np.where(int8[:, None], both[1], both[0]), found

    def searched(evaluations: int) -> Rows:
        """The archs that were scored in float, the most accurate first."""
        trials = _trials(work, plain, scores, lambda rows: faster(rows)[1], evaluations, seed)
        best = trials.sort_values("accuracy", ascending=False, kind="stable").to_dict("records")
        return np.array([plain.to_row({name: one[name] for name in plain.names}) for one in best])

    def int8(rows: Rows) -> NDArray[np.bool_]:
        return (faster(rows)[0] != uniform(rows, "fp32")).any(axis=1)

    again = round(QUANTIZED * budget)
    again = min(again, int(int8(searched(budget - again)).sum()))
    rows = searched(budget - again)
    quantized = int8(rows)
    rows = np.vstack([rows[~quantized], rows[quantized][:again]])
    deployed, costs = faster(rows)
    archs = [space.to_arch(row) for row in deployed]
    return Found(
        way="then int8",
        archs=archs,
        accuracy=np.array([scores(arch)["accuracy"] for arch in archs]),
        latency_ms=np.asarray(costs["latency_ms"]),
    )


def _trials(
    work: Searching,
    space: SearchSpace,
    scores: Scores,
    costs: Callable[[Rows], Mapping[str, NDArray[np.float64]]],
    budget: int,
    seed: int,
) -> pd.DataFrame:
    """The trials of one search that were scored."""
    found = search(
        space,
        scores,
        objectives=OBJECTIVES,
        constraints=work.constraints,
        costs=costs,
        searcher=("linas", {"batch": 10, "generations": 10, "patience": 0}),
        budget=budget,
        seed=seed,
    )
    return found.trials[found.trials["status"] == "ok"]


def main() -> None:
    """Searches both ways and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--budget", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("build"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    found: list[Found] = []
    held_back: dict[int, float] = {}
    with opened(arguments.run, None) as made:
        work = made.searching
        if not any(name.endswith(".precision") for name in work.space.names):
            raise SystemExit(f"{arguments.run} was not made with space.precisions: its archs have no formats")
        seen, unseen = evaluators(work.supernet, work.data, work.recipe, work.split_seed)
        scores = Scores(seen, arguments.out / "joint_search.jsonl")
        for seed in range(arguments.seeds):
            for way in (joint, then_int8):
                one = way(work, scores, arguments.budget, seed)
                if unseen is not None:
                    held_back[len(found)] = unseen(one.archs[int(one.accuracy.argmax())])["accuracy"]
                found.append(one)
                print(f"seed {seed}, {one.way}: {one.accuracy.max():.4f}", flush=True)
        print(_table(found, held_back, arguments.budget, work.limit_ms, len(work.data.classes)))


def _table(
    found: list[Found], held_back: Mapping[int, float], budget: int, limit_ms: float, classes: int
) -> str:
    best = max(float(one.accuracy.max()) for one in found)
    lines = [
        f"{budget} evaluations each, limit {limit_ms:.4g} ms, {len(found) // 2} seeds (mean, and each)",
        "",
        "| way | best accuracy under the limit | regret, points | volume of the front | held back |",
        "|---|---|---|---|---|",
    ]
    for way in ("joint", "then int8"):
        places = [place for place, one in enumerate(found) if one.way == way]
        tops = [100 * float(found[place].accuracy.max()) for place in places]
        volumes = [
            hypervolume(
                np.column_stack([-found[place].accuracy, found[place].latency_ms]), (-1 / classes, limit_ms)
            )
            / ((1 - 1 / classes) * limit_ms)
            for place in places
        ]
        kept = [100 * held_back[place] for place in places if place in held_back]
        cells = [
            f"{np.mean(tops):.2f} % ({', '.join(f'{top:.2f}' for top in tops)})",
            f"{100 * best - np.mean(tops):.2f}",
            f"{np.mean(volumes):.4f} ({', '.join(f'{one:.4f}' for one in volumes)})",
            f"{np.mean(kept):.2f} %" if kept else "",
        ]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
