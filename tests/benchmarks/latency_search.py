"""Of the networks that searches return under "X ms at 95 %", how many measure under X.

    python -m tests.benchmarks.latency_search [FOLDER]

FOLDER is the one of ``latency_table``, whose table gives the predictions (30 networks to fit on, 60 for the
interval). NSGA-II looks for networks with many multiply-accumulates and little latency under five limits.
That is the hard case: a search seeks out networks that are predicted too fast. Each network of its front that
comes near the limit (within a quarter of it) is measured; about two minutes on a quiet machine.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from nas.costs.counts.analytic import AnalyticCosts
from nas.costs.layers.sums import Floats, SlotSums
from nas.costs.model.latency import LatencyModel, fit_latency
from nas.search import search
from results.statistics import share_interval
from runners.targets.profile import load_profile
from runners.targets.target import open_target
from search_spaces.space import Rows
from search_spaces.spaces.presets import preset
from tests.benchmarks.latency_table import CALIBRATE, FIT, measured_table, networks, split

QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)
NEAR = 0.75
BUDGET = 2000
SECONDS_EACH = 0.5


def main() -> None:
    """Searches, measures and prints a row for each limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("runs/benchmarks/latency"))
    parser.add_argument("--seed", type=int, default=0, help="of the draw of the table's networks")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    torch.set_num_threads(1)
    space = preset("cifar", classes=10, input_shape=(3, 32, 32))
    analytic = AnalyticCosts(space)
    layers = SlotSums(space)
    rows = networks(space, layers, folder, arguments.seed)
    table = measured_table(space, rows, rows[FIT + CALIBRATE :], "cpu-ort", "fp32", folder)
    fit, calibrate, _ = split(table, rows)
    model = fit_latency(layers, table, *fit).calibrated(*calibrate)
    print("| limit | networks near it | of these measured under it |\n|---|---|---|")
    under = []
    for limit_ms in np.quantile(calibrate[1], QUANTILES):
        found = _found(model, analytic, float(limit_ms))
        measured = _measured(model, found)
        under += (measured <= limit_ms).tolist()
        print(f"| {limit_ms:.3f} ms | {len(found)} | {(measured <= limit_ms).sum()} |", flush=True)
    share = share_interval(sum(under), len(under))
    print(f"\nunder the limit: {share.value:.1%} (95 % interval {share.low:.1%} to {share.high:.1%})")


def _found(model: LatencyModel, analytic: AnalyticCosts, limit_ms: float) -> Rows:
    """What a search returns near a limit."""
    space = analytic.space

    def costs(rows: Rows) -> dict[str, Floats]:
        latency_ms, upper_ms = model.predict(rows)
        return {"latency_ms": latency_ms, "latency_ms_upper": upper_ms, "macs": analytic.macs(rows)}

    result = search(
        space,
        lambda arch: {"work": float(analytic.macs(space.to_row(arch)[None])[0])},
        objectives={"work": "max", "latency_ms": "min"},
        constraints={"latency_ms": limit_ms},
        costs=costs,
        searcher="nsga2",
        budget=BUDGET,
        seed=0,
    )
    rows = np.array([space.to_row(arch) for arch in result.archs])
    return rows[model.predict(rows)[1] > NEAR * limit_ms]


def _measured(model: LatencyModel, rows: Rows) -> Floats:
    target = open_target(load_profile("cpu-ort"))
    space = preset("cifar", classes=10, input_shape=(3, 32, 32))
    with TemporaryDirectory() as folder:
        files = [Path(folder) / f"{index}.onnx" for index in range(len(rows))]
        for row, file in zip(rows, files, strict=True):
            target.export(space.build(space.to_arch(row)).eval(), (3, 32, 32), file)
        timings = target.measure(files, budget_s=SECONDS_EACH * len(files))
    return np.array([timing.median_ms for timing in timings])


if __name__ == "__main__":
    main()
