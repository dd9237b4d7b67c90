"""How far latency predictions are to be trusted on this machine: the figures and the plot of docs/latency.md.

Run as ``python -m tests.benchmarks.latency_table [FOLDER]`` on a quiet machine. It measures some 204 layers
and rows and 190 networks of the CIFAR preset (100 of them twice) in about 5 minutes, then, for the transfer,
the same space as three more devices. Tables stay in FOLDER (runs/benchmarks/latency): a stopped run goes on.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from nas.costs.counts.analytic import AnalyticCosts
from nas.costs.layers.probes import layer_probes, network_key, network_probes
from nas.costs.layers.sums import Floats, SlotSums
from nas.costs.model.check import check_latency
from nas.costs.model.fit import MeasurePlan, choose_networks
from nas.costs.model.latency import (
    LatencyModel,
    fit_latency,
    layer_latencies,
    lone_latencies,
    measured_networks,
)
from nas.costs.model.transfer import transfer
from nas.costs.table.build import build_table
from nas.costs.table.table import LatencyTable
from results.files import write_atomic, write_json
from results.records import LatencyCheck
from runners.tables.commands import staircase
from runners.tables.layers import exporter, table_header
from runners.targets.profile import load_profile
from runners.targets.target import open_target
from search_spaces.space import Rows, SearchSpace
from search_spaces.spaces.presets import preset

FIT, CALIBRATE, CHECK = 30, 60, 100
TRANSFER_FIT, TRANSFER_SHOTS, TRANSFER_CHECK = 30, 10, 60
SECONDS_EACH = 0.3


def main() -> None:
    """Measures what is missing, prints the tables of docs/latency.md and draws its plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("runs/benchmarks/latency"))
    parser.add_argument("--no-transfer", action="store_true", help="leave out the three other devices")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of the networks")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    torch.set_num_threads(1)
    space = preset("cifar", classes=10, input_shape=(3, 32, 32))
    analytic = AnalyticCosts(space)
    layers = SlotSums(space)
    start = time.monotonic()
    rows = networks(space, layers, folder, arguments.seed)
    table = measured_table(space, rows, rows[FIT + CALIBRATE :], "cpu-ort", "fp32", folder)
    print(f"\nmeasured in {time.monotonic() - start:.0f} s\n")

    parts = split(table, rows)
    model = fit_latency(layers, table, *parts[0]).calibrated(*parts[1])
    check = check_latency(model, *parts[2], _again(table, parts[2][0]))
    print(check.summary(), "\n")
    print(f"{check.upper_coverage:.0%} lie under their upper bound")
    if check.ceiling_within_5_percent is not None:
        print(f"{check.ceiling_within_5_percent:.0%} within 5 % is what a perfect predictor reaches here")
    print()
    _compare(layers, analytic, table, parts)
    _limits(model, *parts[2])
    _speed(space, model)
    if not arguments.no_transfer:
        _transfer(space, layers, rows, folder)
    staircase(say=print)
    write_json(folder / "check.json", check.to_json())
    write_atomic(Path("docs/latency.svg"), plot(check))


def networks(space: SearchSpace, layers: SlotSums, folder: Path, seed: int) -> Rows:
    """Networks to fit on, chosen when the layers are measured; then those to calibrate and to check with."""
    none: Rows = np.empty((0, len(space.choices)), dtype=np.int64)
    table = measured_table(space, none, none, "cpu-ort", "fp32", folder)
    plan = MeasurePlan(fit_networks=FIT, check_networks=CALIBRATE + CHECK, seed=seed)
    return np.vstack(choose_networks(space, layers, layer_latencies(layers, table), plan))


def measured_table(
    space: SearchSpace, rows: Rows, twice: Rows, profile: str, precision: str, folder: Path
) -> LatencyTable:
    target = open_target(load_profile(profile))
    return build_table(
        [*layer_probes(space), *network_probes(space, rows), *network_probes(space, twice, occasion=1)],
        table_header(target, space, precision),
        export=exporter(target, precision),
        measure=target.measure,
        path=folder / f"{profile}-{precision}.parquet",
        seconds_each=SECONDS_EACH,
        progress=lambda done, total, left: print(f"\r{done}/{total}, {left:.0f} s left ", end="", flush=True),
    )


Measured = tuple[Rows, Floats]


def split(table: LatencyTable, rows: Rows) -> tuple[Measured, Measured, Measured]:
    """Networks to fit on, to calibrate with, and to check on, with their latencies."""
    found, latency = measured_networks(table)
    known = {network_key(row): ms for row, ms in zip(found, latency, strict=True)}
    values = np.array([known[network_key(row)] for row in rows])
    ends = (0, FIT, FIT + CALIBRATE, len(rows))
    first, second, third = ((rows[a:b], values[a:b]) for a, b in itertools.pairwise(ends))
    return first, second, third


def _again(table: LatencyTable, rows: Rows) -> Floats:
    second = table.of("network", 1).median_ms
    return np.array([second[network_key(row)] for row in rows], dtype=float)


def _errors(name: str, predicted: Floats, measured: Floats) -> str:
    errors = np.abs(predicted / measured - 1)
    rank = stats.spearmanr(predicted, measured)[0]
    within = f"{(errors < 0.1).mean():.0%} | {(errors < 0.05).mean():.0%}"
    return f"| {name} | {errors.mean():.1%} | {within} | {rank:.4f} |"


def _line(fit: Floats, measured: Floats) -> tuple[float, float]:
    """A straight line by least squares of relative errors."""
    design = np.column_stack([fit, np.ones(len(fit))]) / measured[:, None]
    slope, offset = np.linalg.lstsq(design, np.ones(len(fit)), rcond=None)[0]
    return float(slope), float(offset)


def _compare(
    layers: SlotSums,
    analytic: AnalyticCosts,
    table: LatencyTable,
    parts: tuple[Measured, Measured, Measured],
) -> None:
    """Our prediction beside simpler ones, on the same networks."""
    (fit_rows, fit_ms), _, (rows, measured) = parts
    lone = lone_latencies(layers, table)
    sums, fit_sums = layers.sum(rows, lone), layers.sum(fit_rows, lone)
    macs, fit_macs = analytic.macs(rows), analytic.macs(fit_rows)
    slope, offset = _line(fit_sums[:10], fit_ms[:10])
    per_mac, base = _line(fit_macs, fit_ms)
    model = fit_latency(layers, table, fit_rows, fit_ms)
    print("| predictor | off on average | within 10 % | within 5 % | rank |\n|---|---|---|---|---|")
    print(_errors(f"ours, fitted on {len(fit_rows)} networks", model.latency_ms(rows), measured))
    print(_errors("plain sum of layers", sums, measured))
    print(_errors("sum and a line fitted on 10 networks", slope * sums + offset, measured))
    print(_errors(f"MACs and a line fitted on {len(fit_rows)}", per_mac * macs + base, measured), "\n")


def _limits(model: LatencyModel, rows: Rows, measured: Floats) -> None:
    """Of the networks allowed under a limit, how many keep it."""
    _, upper = model.predict(rows)
    print("| limit | networks allowed | of these measured under it |\n|---|---|---|")
    for limit in np.quantile(measured, [0.3, 0.5, 0.7]):
        allowed = upper <= limit
        print(f"| {limit:.3f} ms | {allowed.sum()} | {(measured[allowed] <= limit).mean():.0%} |")
    print()


def _speed(space: SearchSpace, model: LatencyModel) -> None:
    rows = space.sample(1_000_000, np.random.default_rng(1))
    start = time.perf_counter()
    model.predict(rows)
    print(f"a million archs costed in {time.perf_counter() - start:.2f} s\n")


def _transfer(space: SearchSpace, layers: SlotSums, rows: Rows, folder: Path) -> None:
    """Each device in turn is new: placed by ten networks, judged on sixty others."""
    devices = (("cpu-ort", "fp32"), ("cpu-ort", "int8"), ("cpu-ort-all", "fp32"), ("cpu-torch", "fp32"))
    rows = rows[: TRANSFER_FIT + TRANSFER_SHOTS + TRANSFER_CHECK]
    models: dict[str, LatencyModel] = {}
    measured: dict[str, Floats] = {}
    for profile, precision in devices:
        table = measured_table(space, rows, rows[:0], profile, precision, folder)
        found, latency = measured_networks(table)
        known = {network_key(row): ms for row, ms in zip(found, latency, strict=True)}
        values = np.array([known[network_key(row)] for row in rows])
        name = f"{profile} {precision}"
        models[name] = fit_latency(layers, table, rows[:TRANSFER_FIT], values[:TRANSFER_FIT])
        measured[name] = values
    shots = slice(TRANSFER_FIT, TRANSFER_FIT + TRANSFER_SHOTS)
    rest = slice(TRANSFER_FIT + TRANSFER_SHOTS, len(rows))
    print("\n\n| new device, from 10 networks | off on average | within 10 % | within 5 % | rank |")
    print("|---|---|---|---|---|")
    for name, latency in measured.items():
        others = [model for other, model in models.items() if other != name]
        predicted = transfer(others, rows[shots], latency[shots]).latency_ms(rows[rest])
        print(_errors(name, predicted, latency[rest]))
        print(_errors(f"{name}, its own table", models[name].latency_ms(rows[rest]), latency[rest]))
    print()


def plot(check: LatencyCheck, size: int = 420, margin: int = 48) -> str:
    """Predicted against measured latency as SVG, with the interval of each network."""
    values = [*check.measured_ms, *check.low_ms, *check.high_ms]
    low, high = 0.9 * min(values), 1.05 * max(values)

    def at(value: float) -> float:
        share = (np.log(value) - np.log(low)) / (np.log(high) - np.log(low))
        return float(margin + share * (size - 2 * margin))

    marks = []
    for predicted, lower, upper, measured in zip(
        check.predicted_ms, check.low_ms, check.high_ms, check.measured_ms, strict=True
    ):
        x = at(measured)
        marks.append(
            f'<path d="M{x:.1f} {size - at(lower):.1f}V{size - at(upper):.1f}" stroke="#9db4d0"/>'
            f'<circle cx="{x:.1f}" cy="{size - at(predicted):.1f}" r="2.2" fill="#1f5fa8"/>'
        )
    ticks = "".join(
        f'<text x="{at(v):.0f}" y="{size - margin + 16}" text-anchor="middle">{v:g}</text>'
        f'<text x="{margin - 8}" y="{size - at(v) + 4:.0f}" text-anchor="end">{v:g}</text>'
        for v in (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
        if low < v < high
    )
    first, last = margin, size - margin
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" '
        'font-family="sans-serif" font-size="11">'
        f'<rect width="{size}" height="{size}" fill="#fff"/>'
        f'<path d="M{first} {last}L{last} {first}" stroke="#888"/>'
        f'<path d="M{first} {first}V{last}H{last}" stroke="#333" fill="none"/>{"".join(marks)}{ticks}'
        f'<text x="{size / 2}" y="{size - 12}" text-anchor="middle">measured latency, ms</text>'
        f'<text x="14" y="{size / 2}" text-anchor="middle" transform="rotate(-90 14 {size / 2})">'
        "predicted latency, ms</text></svg>\n"
    )


if __name__ == "__main__":
    main()
