"""A space measured on a device, whole: the table, the fit, and the check on networks that took no part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nas.costs.layers.probes import Probe, network_key, network_probes, rows_of, sample_networks
from nas.costs.layers.sums import Floats, LayerSums
from nas.costs.model.check import check_latency
from nas.costs.model.features import network_terms
from nas.costs.model.latency import LatencyModel, fit_latency, layer_latencies, measured_networks
from nas.costs.model.selection import select_networks
from nas.costs.table.build import Export, Progress, TimeFiles, build_table
from nas.costs.table.table import LatencyTable, TableHeader
from results.records import LatencyCheck
from search_spaces.space import Rows, SearchSpace

CANDIDATES = 500  # networks that those to fit on are chosen from


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurePlan:
    """How much to measure.

    Attributes:
        fit_networks: the correction is fitted on; the smallest and the largest network are among them.
        check_networks: predicted before they are looked at, each measured twice.
        seconds_each: time budget of a layer or network; narrow intervals end it sooner.
        confidence: confidence of the upper bounds.
        seed: seed of the draw of the networks.
    """

    fit_networks: int = 30
    check_networks: int = 30
    seconds_each: float = 0.4
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if not 5 <= self.fit_networks <= 1000 or self.check_networks < 3:
            raise ValueError(
                f"the latency model needs 5 or more networks to fit and 3 or more to check, got "
                f"{self.fit_networks} and {self.check_networks}"
            )
        if self.seconds_each <= 0 or not 0 < self.confidence < 1:
            raise ValueError(
                f"seconds_each must be positive and confidence between 0 and 1, got {self.seconds_each} and "
                f"{self.confidence}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What measuring a space leaves behind.

    Attributes:
        table: everything measured.
        model: fitted; its intervals have seen the fit's left-out errors and the check's networks.
        check: check of the model before it had seen the check's networks.
    """

    table: LatencyTable
    model: LatencyModel
    check: LatencyCheck


def measure_space(
    space: SearchSpace,
    layers: LayerSums,
    layer_probes: Sequence[Probe],
    header: TableHeader,
    plan: MeasurePlan,
    *,
    export: Export,
    measure: TimeFiles,
    at_once: int = 1,
    path: Path,
    progress: Progress = lambda _done, _total, _seconds_left: None,
) -> Measured:
    """Measures, fits and checks; resumes from the table at ``path``.

    Raises:
        ValueError: a table of something else at ``path``, or too few networks that the device can run.
        OSError: the device went away; the same call resumes.
    """
    networks = plan.fit_networks + 2 * plan.check_networks
    total = len(layer_probes) + networks

    def build(probes: Sequence[Probe], before: int) -> LatencyTable:
        return build_table(
            probes,
            header,
            export=export,
            measure=measure,
            at_once=at_once,
            path=path,
            seconds_each=plan.seconds_each,
            progress=lambda done, all_, left: progress(
                before + done, total, left + plan.seconds_each * (total - before - all_)
            ),
        )

    of_layers = build(layer_probes, 0)
    layer_ms = layer_latencies(layers, of_layers)
    fitting, checked = choose_networks(space, layers, layer_ms, plan)
    if len(checked) < 3:
        raise ValueError(
            f"space {space.name!r} has {len(fitting) + len(checked)} networks that {header.profile!r} can "
            f"run; a model fitted on {plan.fit_networks} and checked on 3 or more needs more of them: "
            f"ask for fewer, or see with quarry table show which layers do not run{_because(of_layers)}"
        )
    rows = np.vstack([fitting, checked])
    table = build(
        [*network_probes(space, rows), *network_probes(space, checked, occasion=1)], len(layer_probes)
    )
    return fit_table(table, layers, plan.confidence)


def choose_networks(
    space: SearchSpace, layers: LayerSums, layer_ms: Floats, plan: MeasurePlan
) -> tuple[Rows, Rows]:
    """The networks to fit on, those that tell most, and the ones to check with, drawn at random.

    Args:
        space: space to choose from.
        layers: layers of the space.
        layer_ms: what each takes, (layers,); networks with an infinite one are not chosen.
        plan: how many of each; where the space has not enough, there are fewer to check.
    """
    drawn = sample_networks(
        space,
        CANDIDATES + plan.check_networks,
        np.random.default_rng(plan.seed),
        runs=lambda rows: np.isfinite(layers.sum(rows, layer_ms)),
    )
    ends = max(plan.fit_networks, len(drawn) - plan.check_networks)
    candidates, checked = drawn[:ends], drawn[ends:]
    if not len(candidates):
        return candidates, checked
    chosen = select_networks(network_terms(layers, layer_ms, candidates), plan.fit_networks, first=2)
    return candidates[chosen], checked


def fit_table(table: LatencyTable, layers: LayerSums, confidence: float) -> Measured:
    """The predictions of a table: a function of what it holds, which measures nothing.

    Networks that it holds once are fitted on; those that it holds twice are the check.

    Args:
        table: table with every layer of the space and enough whole networks.
        layers: layers of the space.
        confidence: confidence of the upper bounds.

    Raises:
        ValueError: it lacks layers or networks.
    """
    rows, measured = measured_networks(table)
    twice = set(table.of("network", 1).index)
    fitting = np.array([network_key(row) not in twice for row in rows], dtype=bool)
    if fitting.sum() < 5 or not twice:
        raise ValueError(
            f"the table of profile {table.header.profile!r} holds {fitting.sum()} whole networks measured "
            f"once and {len(twice)} measured twice; it takes 5 to fit and 1 to check: measure "
            f"again, or let the kit's measure.py come to its end{_because(table)}"
        )
    model = fit_latency(layers, table, rows[fitting], measured[fitting], confidence=confidence)
    unseen, latency = rows[~fitting], measured[~fitting]
    runnable = np.isfinite(model.latency_ms(unseen))
    unseen, latency = unseen[runnable], latency[runnable]
    check = check_latency(model, unseen, latency, _again(table, unseen))
    return Measured(table=table, model=model.calibrated(unseen, latency), check=check)


def _because(table: LatencyTable) -> str:
    """The commonest reason for which something was not measured, as the end of a sentence."""
    failed = table.lines[table.lines.status != "measured"]
    if not len(failed):
        return ""
    reason = failed.reason.mode().iloc[0]
    return f" ({len(failed)} of {len(table.lines)} lines were not measured, most often for this: {reason})"


def _again(table: LatencyTable, rows: Rows) -> Floats | None:
    """Second measurements of these networks; None unless all of them have one."""
    second = table.of("network", 1)
    second = second[second.status == "measured"]
    if not len(second):
        return None
    keys = rows_of(list(second.index)).tolist()
    found = {tuple(row): ms for row, ms in zip(keys, second.median_ms, strict=True)}
    values = [found.get(tuple(row)) for row in rows.tolist()]
    return None if None in values or not values else np.array(values, dtype=float)
