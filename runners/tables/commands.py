"""What the commands around tables and devices do, as plain functions; ``say`` takes each line of output."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from torch import nn

from compress.pruning.staircase import Staircase, measure_staircase
from nas.costs.counts.analytic import AnalyticCosts
from nas.costs.layers.probes import network_probes, sample_networks
from nas.costs.layers.sums import layers_of
from nas.costs.table.exchange import export_csv, import_csv
from nas.costs.table.plausibility import Drift, check_plausible, remeasure, why_stale
from nas.costs.table.table import LatencyTable, load_table, merge_tables
from results.timing import Memory
from runners.tables.analysis import LatencyReport, analyse, load_model
from runners.tables.kit import KIT_RUNTIMES, read_kit, write_kit
from runners.tables.layers import MeasurePlan, exporter, table_header
from runners.tables.runtimes import Tried, compare, lines, profiles_here
from runners.targets.hardware import Runtime
from runners.targets.profile import load_profile
from runners.targets.target import open_target
from search_spaces.space import SearchSpace

Say = Callable[[str], None]
LEAST_FEW = 8
"""Networks of a kit that holds nothing else: five to fit on and three, measured twice, to check with."""


def latency(
    spec: str, *, profile: str = "cpu-ort", input_shape: str = "", seconds: float = 3.0, say: Say = print
) -> LatencyReport:
    """``quarry latency MODEL``: measured latency, time by operator, and what to make of it.

    Args:
        spec: ``path.onnx`` or ``module:function``.
        profile: name or path.
        input_shape: ``3x224x224``, for ``module:function`` and files that leave it open.
        seconds: time to measure for.
        say: takes each line.

    Raises:
        ValueError: a model that cannot be loaded or run, a shape that cannot be read, no time to measure.
        FileNotFoundError: no such file.
    """
    if not 0 < seconds < math.inf:
        raise ValueError(f"the seconds to measure for are a number over 0, not {seconds:g}")
    hardware = load_profile(profile)
    report = analyse(load_model(spec), hardware, input_shape=shape_of(input_shape), seconds=seconds)
    timing = report.timing
    interval = (
        f", 95 % interval {timing.low_ms:.4g} to {timing.high_ms:.4g} ms, {timing.repeats} blocks of runs"
    )
    say(f"{timing.median_ms:.4g} ms on {hardware.name}{'' if report.computed else interval}")
    if report.memory is not None:
        say(_memory_words(report.memory, report.predicted_bytes))
    total = sum(entry.latency_ms for entry in report.operators)
    for entry in report.operators[:12]:
        say(f"{entry.latency_ms / total:6.1%}  {entry.nodes:4d} x {entry.operator}")
    for remark in report.remarks:
        say(f"- {remark}")
    return report


def _memory_words(memory: Memory, predicted_bytes: int | None) -> str:
    own = f"{memory.own_bytes / 1e6:.1f} MB of it since the runtime was loaded"
    predicted = (
        ""
        if predicted_bytes is None
        else f"; weights and the values that have to be there at once are {predicted_bytes / 1e6:.1f} MB"
    )
    return f"{memory.process_bytes / 1e6:.1f} MB of memory in a process of its own, {own}{predicted}"


def compare_runtimes(
    spec: str, *, profiles: str = "all", input_shape: str = "", seconds: float = 3.0, say: Say = print
) -> list[Tried]:
    """``quarry latency MODEL --profile all``: the model in every runtime that is here.

    Args:
        spec: ``path.onnx`` or ``module:function``.
        profiles: ``all``, or names and paths of profiles with commas between; their threads, batch and
            precisions do not matter.
        input_shape: ``3x224x224``, for ``module:function`` and files that leave it open.
        seconds: time to measure each row for.
        say: takes each line.

    Raises:
        ValueError: a model that cannot be loaded, a profile that cannot be opened, two of one name, a shape
            that cannot be read, no time to measure.
        FileNotFoundError: no such file.
    """
    if not 0 < seconds < math.inf:
        raise ValueError(f"the seconds to measure for are a number over 0, not {seconds:g}")
    model = load_model(spec)
    if profiles == "all":
        chosen, unable = profiles_here()
    else:
        chosen, unable = [load_profile(name.strip()) for name in profiles.split(",") if name.strip()], {}
        names = [profile.name for profile in chosen]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two profiles are called {twice[0]!r}; give one of them another name")
        for profile in chosen:
            open_target(profile)
    rows = compare(model, chosen, input_shape=shape_of(input_shape), seconds_each=seconds)
    for line in lines(rows):
        say(line)
    for name, words in unable.items():
        say(f"- not here: {name}: {words}")
    return rows


def shape_of(text: str) -> tuple[int, ...] | None:
    """A shape written like ``3x224x224``; None for an empty text.

    Raises:
        ValueError: a text that is no shape.
    """
    if not text:
        return None
    try:
        shape = tuple(int(part) for part in text.lower().split("x"))
        if min(shape) < 1:
            raise ValueError
    except ValueError:
        raise ValueError(f"an input shape is written like 3x224x224, not {text!r}") from None
    return shape


def make_kit(
    space: SearchSpace,
    folder: Path,
    *,
    profile: str = "cpu-ort",
    plan: MeasurePlan | None = None,
    networks: int = 0,
    say: Say = print,
) -> Path:
    """``quarry measure --kit DIR``: everything a device without PyTorch needs to measure a space.

    Args:
        space: space to measure.
        folder: folder of the kit.
        profile: profile by name or path.
        plan: how much to measure.
        networks: whole networks of a kit that holds nothing else, for ``quarry table transfer``; 0 makes one
            for a table.
        say: takes each line.

    Raises:
        ValueError: the folder holds something, or the profile is not of ONNX Runtime.
    """
    plan, hardware = plan or MeasurePlan(), load_profile(profile)
    if hardware.runtime.kind not in KIT_RUNTIMES:
        raise ValueError(
            f"profile {hardware.name!r} has runtime {hardware.runtime.kind!r}; a kit measures with ONNX "
            "Runtime: choose a profile of it, such as cpu-ort"
        )
    precision = hardware.precisions[0]
    # Here it only exports; what measures is written down there.
    target = open_target(hardware.model_copy(update={"runtime": Runtime(kind="onnxruntime")}))
    if networks and networks < LEAST_FEW:
        raise ValueError(f"a kit of networks alone has {LEAST_FEW} or more of them, not {networks}")
    fit, every = plan.fit_networks, plan.fit_networks + plan.check_networks
    if networks:
        fit, every = networks - max(3, networks // 4), networks
    rows = sample_networks(space, every, np.random.default_rng(plan.seed))
    checked = rows[fit:]
    probes = [
        *([] if networks else layers_of(space, plan.seed).probes),
        *network_probes(space, rows),
        *network_probes(space, checked, occasion=1),
    ]
    write_kit(
        folder,
        probes,
        table_header(target, space, precision),
        hardware,
        export=exporter(target, precision),
        seconds_each=plan.seconds_each,
    )
    say(f"{len(probes)} models in {folder}; its README.txt says what to do on the device")
    return folder


def import_table(
    source: Path, target: Path, *, space: SearchSpace | None = None, say: Say = print
) -> LatencyTable:
    """``quarry measure import`` and ``quarry table import``: a kit's folder or a CSV file becomes a table.

    Args:
        source: the folder or file.
        target: the table, ``.parquet``; what is there is replaced.
        space: space that the table has to be of, with plausible times.
        say: takes each line.

    Raises:
        FileNotFoundError: nothing at ``source``.
        ValueError: no units, lines that make no sense, another space, times that look like seconds.
    """
    if not source.exists():
        raise FileNotFoundError(f"there is neither a kit nor a CSV file at {source}")
    table = read_kit(source) if source.is_dir() else import_csv(source)
    if space is not None:
        if table.header.space_fingerprint != space.fingerprint:
            raise ValueError(
                f"{source} was measured for space {table.header.space!r} ({table.header.space_fingerprint}), "
                f"not for {space.name!r} ({space.fingerprint})"
            )
        analytic = AnalyticCosts(space)
        check_plausible(table, analytic.layer_keys, analytic.per_layer("macs"))
    table.save(target)
    say(f"{len(table.lines)} lines of {table.header.profile} on {table.header.machine} in {target}")
    return table


def export_table(source: Path, target: Path, *, say: Say = print) -> None:
    """``quarry table export``: a table as CSV."""
    table = load_table(source)
    export_csv(table, target)
    say(f"{len(table.lines)} lines in {target}")


def merge(sources: Sequence[Path], target: Path, *, say: Say = print) -> LatencyTable:
    """``quarry table merge``: tables of one device and space become one."""
    table = merge_tables([load_table(source) for source in sources])
    table.save(target)
    say(f"{len(table.lines)} lines in {target}")
    return table


def show(source: Path, *, limit: int = 20, say: Say = print) -> LatencyTable:
    """``quarry table show``: what a table holds for, and its slowest layers."""
    table = load_table(source)
    header, lines = table.header, table.lines
    runtime = f"{header.runtime} {header.runtime_version}"
    say(f"{header.profile}: {runtime}, {header.threads} thread(s), batch {header.batch}")
    say(f"{header.precision} on {header.machine}, {header.date}")
    say(f"space {header.space} ({header.space_fingerprint})")
    for (kind, status), group in lines.groupby(["kind", "status"]):
        say(f"{len(group):5d} x {kind} {status}")
    layers = lines[(lines.kind == "layer") & (lines.status == "measured")]
    for line in layers.sort_values("median_ms", ascending=False).head(limit).to_dict("records"):
        spread = (line["high_ms"] - line["low_ms"]) / line["median_ms"]
        say(f"{line['median_ms']:10.4f} ms  +-{spread / 2:5.1%}  {line['key']}")
    for line in lines[lines.status != "measured"].to_dict("records"):
        say(f"{line['status']:>13}  {line['key']}: {line['reason']}")
    return table


def check_table(
    source: Path, space: SearchSpace, *, profile: str = "cpu-ort", seed: int = 0, say: Say = print
) -> Drift:
    """``quarry table check``: what has changed since a table was measured, and whether it still holds.

    Raises:
        ValueError: a table of another space.
    """
    table = load_table(source)
    target = open_target(load_profile(profile))
    precision = table.header.precision
    for reason in why_stale(table, table_header(target, space, precision)):
        say(f"changed since: {reason}")
    drift = remeasure(
        table,
        layers_of(space).probes,
        export=exporter(target, precision),
        measure=target.measure,
        seed=seed,
    )
    say(drift.summary())
    return drift


def staircase(
    *,
    profile: str = "cpu-ort",
    channels: Sequence[int] = tuple(range(8, 129, 4)),
    size: int = 16,
    say: Say = print,
) -> Staircase:
    """``quarry table staircase``: which channel counts a device runs for the price of smaller ones.

    Args:
        profile: name or path.
        channels: counts to try, ascending.
        size: height and width of the maps.
        say: takes each line.
    """
    target = open_target(load_profile(profile))
    found = measure_staircase(
        lambda count: nn.Conv2d(64, count, 1),
        lambda _count: (64, size, size),
        channels,
        export=exporter(target),
        measure=target.measure,
    )
    for count, latency_ms in zip(found.channels, found.latency_ms, strict=True):
        mark = "  <- worth choosing" if count in found.steps else ""
        say(f"{count:5d} channels {latency_ms:9.4f} ms{mark}")
    say(f"widths on this device: {', '.join(map(str, found.steps))}; all are multiples of {found.multiple}")
    return found
