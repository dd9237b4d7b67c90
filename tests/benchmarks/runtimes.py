"""Every runtime that is here, on the same networks: the table of docs/devices.md.

    python -m tests.benchmarks.runtimes [FOLDER] [--networks 100]

Times two ResNets made by hand and two networks of the CIFAR preset in each runtime and number format, then
measures that preset's layers in each runtime and holds the predictions against whole networks that took no
part. Tables stay in FOLDER (runs/benchmarks/runtimes): a stopped run goes on. Leave the machine alone then.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from nas.costs.counts.analytic import count
from nas.costs.model.fit import MeasurePlan
from results.files import write_atomic
from results.numbers import count as in_units
from runners.measuring.machine import machine_fingerprint
from runners.tables.layers import measure_on
from runners.tables.runtimes import Tried, compare, profiles_here
from runners.targets.hardware import HardwareProfile
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
    parser.add_argument("--page", type=Path, default=PAGE, help="page that holds the section")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    profiles, _ = profiles_here()
    shape = SHAPES[arguments.preset]
    space = preset(arguments.preset, classes=10, input_shape=shape)
    parts = [f"Measured on {machine_fingerprint()}, one thread, one image in a call."]
    parts += list(_networks(space, shape, profiles, arguments.seconds))
    plan = MeasurePlan(
        fit_networks=arguments.fit, check_networks=arguments.networks, seconds_each=arguments.seconds
    )
    arguments.folder.mkdir(parents=True, exist_ok=True)
    parts += list(_tables(space, profiles, plan, arguments.folder))
    text = arguments.page.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    section = "\n".join(parts)
    write_atomic(arguments.page, f"{before}{BEGIN}\n\n{section}\n\n{END}{after}".encode())
    print(section)


def _networks(
    space: SearchSpace, shape: tuple[int, ...], profiles: Sequence[HardwareProfile], seconds: float
) -> Iterator[str]:
    """A table with a line for each runtime and number format, a column for each network, in ms."""
    networks: dict[str, nn.Module] = {
        f"ResNet, width {width}": resnet(shape, 10, width=width, depth=1, stem_stride=2).eval()
        for width in (16, 24)
    }
    for row in space.sample(2, np.random.default_rng(0)):
        network = space.build(space.to_arch(row)).eval()
        macs = in_units(count(network, shape).macs).replace("\u00a0", " ")
        networks[f"{space.name}, {macs} MACs"] = network
    found: dict[str, dict[str, Tried]] = {}
    for name, network in networks.items():
        print(f"timing {name}", flush=True)
        for one in compare(
            network, profiles, input_shape=shape, batches=(1,), threads=(1,), seconds_each=seconds
        ):
            found.setdefault(f"{one.runtime}, {one.precision}", {})[name] = one
    yield from ("", f"| ms | {' | '.join(networks)} |", f"|---|{'---|' * len(networks)}")
    for label, by_network in found.items():
        yield f"| {label} | {' | '.join(_cell(by_network[name]) for name in networks)} |"


def _cell(one: Tried) -> str:
    timing = one.timing
    if timing.status != "measured":
        return timing.reason.splitlines()[0][:60].replace("|", "/")
    return f"{timing.median_ms:.3f} ({timing.low_ms:.3f} to {timing.high_ms:.3f})"


def _tables(
    space: SearchSpace, profiles: Sequence[HardwareProfile], plan: MeasurePlan, folder: Path
) -> Iterator[str]:
    """A table with a line for each runtime: what was predicted against what was measured."""
    yield from (
        "",
        f"Predicted against measured, {plan.check_networks} unseen networks of `{space.name}` in fp32:",
        "",
        "| runtime | within 10 % | off by | rank correlation | in the interval | machine repeats | minutes |",
        "|---|---|---|---|---|---|---|",
    )
    for profile in profiles:
        target = open_target(profile)
        name, began = f"{target.facts.runtime} {target.facts.runtime_version}", time.monotonic()
        print(f"measuring {space.name} in {name}", flush=True)
        try:
            file = folder / f"{space.name}-{profile.name}.parquet"
            check = measure_on(target, profile, space, file, plan=plan).check
        except ValueError as error:
            yield f"| {name} | {str(error).splitlines()[0].replace('|', '/')} | | | | | |"
            continue
        rank = "" if check.spearman is None else f"{check.spearman:.4f}"
        noise = "" if check.noise_floor is None else f"{check.noise_floor:.1%}"
        yield (
            f"| {name} | {check.within_10_percent:.0%} | {check.mape:.1%} | {rank} | {check.coverage:.0%} | "
            f"{noise} | {(time.monotonic() - began) / 60:.0f} |"
        )


if __name__ == "__main__":
    main()
