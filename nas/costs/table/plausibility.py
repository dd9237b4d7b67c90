"""Does a table make sense, and does it still hold: units that were swapped, machines that changed."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nas.costs.layers.probes import Probe
from nas.costs.layers.sums import Floats
from nas.costs.table.build import Export, TimeFiles
from nas.costs.table.table import LatencyTable, TableHeader

# No runtime starts a layer faster than this, and no device that runs one works through less than this.
FASTEST_MS = 0.0005
SLOWEST_MACS_PER_S = 1e6
LARGEST_MACS_PER_S = 1e15


def check_plausible(table: LatencyTable, keys: Sequence[str], macs: Floats) -> None:
    """Refuses a table whose times can't be milliseconds.

    Args:
        table: table to look at.
        keys: keys of the layers of its space.
        macs: multiply-accumulates of each of them, (n layers,).

    Raises:
        ValueError: the times look like seconds, or like microseconds; the message says why.
    """
    rows = table.of("layer")
    measured = rows[rows.status == "measured"].median_ms.astype(float)
    found = [(measured[key], count) for key, count in zip(keys, macs, strict=True) if key in measured]
    if not found:
        return
    times = np.array([time for time, _ in found])
    work = np.array([count for _, count in found])
    rate = work.sum() / (times.sum() / 1e3)
    where = f"the table of profile {table.header.profile!r} says ms, but"
    if np.median(times) < FASTEST_MS or rate > LARGEST_MACS_PER_S:
        raise ValueError(
            f"{where} half of its layers take under {np.median(times) * 1e6:.0f} ns and all together "
            f"make {rate:.1e} multiply-accumulates a second; these look like seconds, multiply "
            "them by 1000"
        )
    if work.sum() and rate < SLOWEST_MACS_PER_S:
        raise ValueError(
            f"{where} its layers together make {rate:.1e} multiply-accumulates a second, less than "
            "any device; these look like microseconds, divide them by 1000"
        )


def why_stale(table: LatencyTable, now: TableHeader) -> list[str]:
    """What has changed since the table was measured, in words; nothing where nothing has."""
    return now.differences(table.header)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A sample of layers measured again.

    Attributes:
        layers: how many.
        ratio: median of new over old latency.
        spread: spread of the ratios, as the mean distance from their median.
        holds: whether the table can still be used: every latency moved alike, by no more than ``tolerance``.
    """

    layers: int
    ratio: float
    spread: float
    holds: bool

    def summary(self) -> str:
        """What the sample says, in a sentence."""
        verdict = "the table still holds" if self.holds else "measure the table again"
        return (
            f"{self.layers} layers measured again take {self.ratio:.3f} times what the table says "
            f"(spread {self.spread:.1%}): {verdict}"
        )


def remeasure(
    table: LatencyTable,
    probes: Sequence[Probe],
    *,
    export: Export,
    measure: TimeFiles,
    seed: int,
    sample: int = 10,
    seconds_each: float = 0.4,
    tolerance: float = 0.05,
) -> Drift:
    """Measures a sample of the table's layers again.

    Args:
        table: table in question.
        probes: the space's layers.
        export: exporter of the device as it is now.
        measure: stopwatch of the device as it is now.
        seed: seed of the draw of the sample.
        sample: layers to measure.
        seconds_each: time budget of each.
        tolerance: relative change up to which the table holds.

    Raises:
        ValueError: the table holds none of these layers.
    """
    rows = table.of("layer")
    known = rows[rows.status == "measured"].median_ms.astype(float)
    able = [probe for probe in probes if probe.key in known]
    if not able:
        raise ValueError(f"the table of profile {table.header.profile!r} holds none of these layers")
    chosen = np.random.default_rng(seed).permutation(len(able))[:sample]
    with tempfile.TemporaryDirectory(prefix="quarry-") as folder:
        files = [Path(folder) / f"{index}.model" for index in chosen]
        for index, file in zip(chosen, files, strict=True):
            export(able[index].make(), able[index].input_shape, file)
        readings = measure(files, budget_s=seconds_each * len(files))
    ratios = np.array(
        [
            reading.median_ms / known[able[index].key]
            for index, reading in zip(chosen, readings, strict=True)
            if reading.status == "measured"
        ]
    )
    if not len(ratios):
        return Drift(layers=0, ratio=float("nan"), spread=float("nan"), holds=False)
    ratio = float(np.median(ratios))
    spread = float(np.mean(np.abs(ratios - ratio)))
    return Drift(
        layers=len(ratios),
        ratio=ratio,
        spread=spread,
        holds=abs(ratio - 1) <= tolerance and spread <= tolerance,
    )
