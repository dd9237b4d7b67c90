"""What the members of the families cost on the target, and which of them are candidates for a limit."""

from __future__ import annotations

import logging
import math
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import torch

from nas.costs.counts.analytic import count
from results.files import append_line, read_lines
from results.records import Record
from tests.benchmarks.by_hand.families import Member, members
from tests.benchmarks.by_hand.int8 import quantize
from tests.benchmarks.by_hand.setting import Bench

PRECISIONS = ("fp32", "int8")
CALIBRATION_IMAGES = 256
_AT_ONCE = 6  # members measured side by side
_TOO_SLOW = 1.5  # times the largest limit: larger members of the family are not looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured(Record):
    """A member in one number format, with fresh weights.

    Attributes:
        family: name of its family.
        name: name of the member.
        precision: number format of the file.
        macs: multiply-accumulates of one image.
        latency_ms: median latency.
        high_ms: upper end of the median's interval.
        making_s: processor seconds of exporting (and quantizing) it.
    """

    family: str
    name: str
    precision: str
    macs: float
    latency_ms: float
    high_ms: float
    making_s: float


def candidates(known: Iterable[Measured], precision: str, limit_ms: float) -> list[Measured]:
    """The most capable member of each family that meets a limit: the one with most multiply-accumulates.

    Met is what the median meets, for both sides. A family without such a member has no candidate.
    """
    meets = [one for one in known if one.precision == precision and one.latency_ms <= limit_ms]
    best: dict[str, Measured] = {}
    for one in meets:
        if one.family not in best or one.macs > best[one.family].macs:
            best[one.family] = one
    return [best[family] for family in sorted(best)]


def precisions(bench: Bench) -> list[str]:
    """The columns that by hand has on a target."""
    return [one for one in PRECISIONS if one in bench.target.facts.precisions]


def measured_members(bench: Bench, families: Sequence[str], largest_ms: float, file: Path) -> list[Measured]:
    """Latencies of the members in all number formats, as far up as limits reach; kept in a file.

    Within a family members are looked at from the smallest up, until six in a row are far too slow in
    every format.

    Args:
        bench: data and target.
        families: names of families to look at; none named means all.
        largest_ms: the largest limit.
        file: JSON lines of what was measured before, which is not measured again.
    """
    known = [Measured.from_json(line) for line in read_lines(file)]
    done = {one.name for one in known}
    shape, classes = bench.splits.input_shape, len(bench.splits.classes)
    sized = [
        (member, count(member.make(shape, classes), shape).macs)
        for member in members(shape)
        if not families or member.family in families
    ]
    sized.sort(key=lambda pair: (pair[0].family, pair[1]))
    for family, group in groupby(sized, key=lambda pair: pair[0].family):
        listed = list(group)
        for start in range(0, len(listed), _AT_ONCE):
            part = listed[start : start + _AT_ONCE]
            new = [pair for pair in part if pair[0].name not in done]
            fresh = _measure(bench, new) if new else []
            for one in fresh:
                append_line(file, one.to_json())
            known += fresh
            names = {member.name for member, _ in part}
            fastest = min((one.latency_ms for one in known if one.name in names), default=math.inf)
            print(f"{family}: up to {part[-1][1] / 1e6:.2f} M MACs, fastest {fastest:.3f} ms", flush=True)
            if fastest > _TOO_SLOW * largest_ms:
                break
    return known


def _measure(bench: Bench, new: Sequence[tuple[Member, float]]) -> list[Measured]:
    """Exports members with fresh weights and times all their files side by side."""
    shape, classes = bench.splits.input_shape, len(bench.splits.classes)
    made: list[tuple[Member, float, str, Path, float]] = []
    with tempfile.TemporaryDirectory(prefix="by-hand-") as folder:
        for member, macs in new:
            torch.manual_seed(0)
            network = member.make(shape, classes).eval()
            began = time.process_time()
            for precision, file in export(bench, network, Path(folder) / member.name).items():
                made.append((member, macs, precision, file, time.process_time() - began))
        timings = bench.latencies([file for *_, file, _ in made])
    return [
        Measured(
            family=member.family,
            name=member.name,
            precision=precision,
            macs=macs,
            latency_ms=median_ms,
            high_ms=high_ms,
            making_s=making_s,
        )
        for (member, macs, precision, _, making_s), (median_ms, _, high_ms) in zip(made, timings, strict=True)
        if math.isfinite(median_ms)
    ]


def export(bench: Bench, network: torch.nn.Module, stem: Path, which: str = "int8") -> dict[str, Path]:
    """The files of a network, ``STEM.fp32.onnx`` and, where asked for and possible, ``STEM.int8.onnx``.

    Args:
        bench: data and target.
        network: any network.
        stem: path of the files without their endings.
        which: the format that is needed; int8 is made from fp32.
    """
    ending = bench.target.facts.format
    files = {"fp32": stem.with_name(f"{stem.name}.fp32.{ending}")}
    bench.target.export(network, bench.splits.input_shape, files["fp32"])
    if which == "int8" and "int8" in precisions(bench):
        files["int8"] = stem.with_name(f"{stem.name}.int8.{ending}")
        train = bench.splits.train.images
        spread = torch.linspace(0, len(train) - 1, min(CALIBRATION_IMAGES, len(train))).long()
        logging.getLogger().setLevel(logging.ERROR)  # advice that was taken
        quantize(files["fp32"], bench.prepare(train[spread], None).numpy(), files["int8"])
    return files
