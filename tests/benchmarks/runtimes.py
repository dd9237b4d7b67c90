"""Every runtime that is here, on the same networks: the tables of docs/devices.md.

    python -m tests.benchmarks.runtimes [FOLDER] [--networks 100] [--preset cifar]

Times two ResNets made by hand and two networks of a preset in each runtime and number format, then measures
that preset's layers in each and holds the predictions against whole networks that took no part. Tables stay
in FOLDER (runs/benchmarks/runtimes): a stopped run goes on, and so does one with other ``--profiles``. Leave
the machine alone then. ``--preset digits --networks 20 --fit 10 --seconds 0.1`` takes minutes.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from nas.costs.counts.analytic import count
from nas.costs.layers.sums import LayerSums, layers_of
from nas.costs.model.fit import Measured, MeasurePlan
from nas.costs.model.latency import lone_latencies, measured_networks
from results.files import write_atomic
from results.names import unknown
from results.numbers import count as in_units
from runners.measuring.machine import busy_cores, machine_fingerprint
from runners.tables.layers import measure_on
from runners.tables.runtimes import Tried, compare, profiles_here
from runners.targets.hardware import PRECISIONS, HardwareProfile
from runners.targets.profile import load_profile
from runners.targets.target import open_target
from search_spaces.space import SearchSpace
from search_spaces.spaces.presets import preset
from tests.benchmarks.by_hand.families import resnet

PAGE = Path(__file__).parents[2] / "docs" / "devices.md"
BEGIN, END = "<!-- made by tests.benchmarks.runtimes -->", "<!-- up to here -->"
SHAPES = {"cifar": (3, 32, 32), "digits": (1, 8, 8)}
FIT = 30


def main() -> None:
    """Measures what is missing and writes the section of the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("runs/benchmarks/runtimes"))
    parser.add_argument("--networks", type=int, default=100, help="unseen networks to check predictions on")
    parser.add_argument("--fit", type=int, default=FIT, help="networks to fit the corrections on")
    parser.add_argument("--seconds", type=float, default=0.3, help="seconds to measure each file for")
    parser.add_argument("--preset", choices=tuple(SHAPES), default="cifar", help="space of the networks")
    parser.add_argument("--profiles", help="profiles to take, with commas; all that can be used without it")
    parser.add_argument("--precisions", default="fp32,int8", help="number formats to take, with commas")
    parser.add_argument(
        "--examples", type=int, choices=(1, 2), default=2, help="networks of each kind to time"
    )
    parser.add_argument("--part", choices=("networks", "tables", "both"), default="both", help="what to do")
    parser.add_argument("--page", type=Path, default=PAGE, help="page that holds the section")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    profiles, precisions = _chosen(arguments.profiles, arguments.precisions)
    shape = SHAPES[arguments.preset]
    space = preset(arguments.preset, classes=10, input_shape=shape)
    sums = layers_of(space, MeasurePlan().seed)
    busy = busy_cores()
    parts = [
        f"Measured on {machine_fingerprint()}, one thread; other programs kept {busy:.1f} of the machine's "
        f"{os.cpu_count()} cores busy at the start."
    ]
    if arguments.part != "tables":
        parts += list(_networks(space, shape, profiles, precisions, arguments))
    plan = MeasurePlan(
        fit_networks=arguments.fit, check_networks=arguments.networks, seconds_each=arguments.seconds
    )
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.part != "networks":
        parts += list(_tables(space, sums, profiles, precisions, plan, arguments.folder))
    text = arguments.page.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    section = "\n".join(parts)
    write_atomic(arguments.page, f"{before}{BEGIN}\n\n{section}\n\n{END}{after}".encode())
    print(section)


def _chosen(names: str | None, precisions: str) -> tuple[list[HardwareProfile], tuple[str, ...]]:
    """The profiles, those of this machine where none is named, and number formats."""
    profiles = [load_profile(name) for name in names.split(",")] if names else profiles_here()[0]
    wanted = tuple(precisions.split(","))
    for one in wanted:
        if one not in PRECISIONS:
            raise SystemExit(unknown("precision", one, PRECISIONS))
    return profiles, wanted


def _networks(
    space: SearchSpace,
    shape: tuple[int, ...],
    profiles: Sequence[HardwareProfile],
    precisions: Sequence[str],
    arguments: argparse.Namespace,
) -> Iterator[str]:
    """A table with a line for each runtime, number format and batch, a column for each network, in ms."""
    stride = 2 if min(shape[1:]) >= 32 else 1
    networks: dict[str, nn.Module] = {
        f"ResNet, width {width}": resnet(shape, 10, width=width, depth=1, stem_stride=stride).eval()
        for width in (16, 24)[: arguments.examples]
    }
    for row in space.sample(2, np.random.default_rng(0))[: arguments.examples]:
        network = space.build(space.to_arch(row)).eval()
        macs = in_units(count(network, shape).macs).replace("\u00a0", " ")
        networks[f"{space.name}, {macs} MACs"] = network
    found: dict[str, dict[str, Tried]] = {}
    for name, network in networks.items():
        print(f"timing {name}", flush=True)
        for one in compare(
            network,
            profiles,
            input_shape=shape,
            threads=(1,),
            precisions=precisions,
            seconds_each=arguments.seconds,
        ):
            label = f"{one.runtime}, {one.precision}, batch {one.batch}"
            found.setdefault(label, {})[name] = one
    yield from ("", f"| ms a call | {' | '.join(networks)} |", f"|---|{'---|' * len(networks)}")
    for label, by_network in found.items():
        yield f"| {label} | {' | '.join(_cell(by_network[name]) for name in networks)} |"


def _cell(one: Tried) -> str:
    timing = one.timing
    if timing.status != "measured":
        return timing.reason.splitlines()[0][:60].replace("|", "/")
    return f"{timing.median_ms:.3f} ({timing.low_ms:.3f} to {timing.high_ms:.3f})"


def _tables(
    space: SearchSpace,
    sums: LayerSums,
    profiles: Sequence[HardwareProfile],
    precisions: Sequence[str],
    plan: MeasurePlan,
    folder: Path,
) -> Iterator[str]:
    """A table with a line for each runtime and number format: predicted against measured."""
    yield from (
        "",
        f"Predicted against measured, {plan.check_networks} unseen networks of `{space.name}`, batch 1, "
        f"{len(sums.probes)} layers and chains of them, corrected on {plan.fit_networks} networks:",
        "",
        "| runtime | within 10 % | off by | rank correlation | in the interval | machine repeats | "
        "layers alone |",
        "|---|---|---|---|---|---|---|",
    )
    for profile in profiles:
        for precision in precisions:
            target = open_target(profile)
            if precision not in target.facts.precisions:
                continue
            name = f"{target.facts.runtime} {target.facts.runtime_version}, {precision}"
            print(f"measuring {space.name} in {name}", flush=True)
            file, began = folder / f"{space.name}-{profile.name}-{precision}.parquet", time.monotonic()
            try:
                found = measure_on(target, profile, space, file, plan=plan, precision=precision, layers=sums)
            except ValueError as error:
                yield f"| {name} | {str(error).splitlines()[0].replace('|', '/')} | | | | | |"
                continue
            print(f"{(time.monotonic() - began) / 60:.1f} minutes", flush=True)
            yield _line(name, found, sums)


def _line(name: str, found: Measured, sums: LayerSums) -> str:
    check, (rows, latency_ms) = found.check, measured_networks(found.table)
    rank = "" if check.spearman is None else f"{check.spearman:.4f}"
    noise = "" if check.noise_floor is None else f"{check.noise_floor:.1%}"
    alone = np.median(sums.sum(rows, lone_latencies(sums, found.table)) / latency_ms)
    return (
        f"| {name} | {check.within_10_percent:.0%} | {check.mape:.1%} | {rank} | {check.coverage:.0%} | "
        f"{noise} | {alone:.2f} |"
    )


if __name__ == "__main__":
    main()
