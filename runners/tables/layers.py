"""Measuring a space on a target: the target's export and clock handed to the cost models."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from torch import nn

from compress.target import Target
from nas.costs.layers.probes import Probe, copies_of, layer_kind
from nas.costs.layers.sums import LayerSums, layers_of
from nas.costs.model.fit import Measured, MeasurePlan, measure_space
from nas.costs.table.build import Export, Progress
from nas.costs.table.table import TableHeader
from results.names import unknown
from results.precision import MIXED
from runners.targets.hardware import HardwareProfile
from search_spaces.space import SearchSpace


def table_header(target: Target, space: SearchSpace, precision: str = "fp32") -> TableHeader:
    """The header of a table that this target measures now for this space.

    Raises:
        ValueError: a precision the profile does not have.
    """
    facts = target.facts
    if ("int8" if precision == MIXED else precision) not in facts.precisions:
        raise ValueError(f"profile {facts.profile!r}: {unknown('precision', precision, facts.precisions)}")
    return TableHeader(
        profile=facts.profile,
        runtime=facts.runtime,
        runtime_version=facts.runtime_version,
        threads=facts.threads,
        batch=facts.batch,
        precision=precision,
        machine=facts.machine,
        space=space.name,
        space_fingerprint=space.fingerprint,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def exporter(target: Target, precision: str = "fp32") -> Export:
    """The target's export at one precision, as table builders take it."""
    return partial(target.export, precision=precision)


def _unless_ruled_out(probe: Probe, profile: HardwareProfile) -> Probe:
    """The probe; one that fails at once where it is a mixer that the profile says cannot run."""
    layer_key = copies_of(probe.key)[0] if probe.kind == "chain" else probe.key
    kind = layer_kind(layer_key)
    if kind not in profile.unsupported_mixers:
        return probe

    def refuse() -> nn.Module:
        raise ValueError(f"profile {profile.name!r} rules out {kind}")

    return replace(probe, make=refuse)


def measure_on(
    target: Target,
    profile: HardwareProfile,
    space: SearchSpace,
    path: Path,
    *,
    plan: MeasurePlan | None = None,
    precision: str = "fp32",
    layers: LayerSums | None = None,
    progress: Progress = lambda _done, _total, _seconds_left: None,
) -> Measured:
    """Builds or completes the latency table of a space on a device, fits the predictions and checks them.

    Args:
        target: exports and measures.
        profile: hardware profile, which says what inputs and mixers it takes.
        space: whose layers and networks are measured.
        path: file of the table; what it holds already is not measured again.
        plan: how much to measure.
        precision: number format of the models.
        layers: what ``layers_of`` gave for the space and the plan's seed; found here where it is None.
        progress: told models done, models in all, seconds left.

    Raises:
        ValueError: the profile cannot run this space or precision, or the table holds for something else.
        OSError: the device went away; the same call resumes.
    """
    wanted = profile.input_shape
    given = space.input_shape(space.largest())
    if wanted and tuple(wanted) != tuple(given):
        raise ValueError(
            f"profile {profile.name!r} takes inputs of {wanted}; space {space.name!r} has {given}"
        )
    sums = layers or layers_of(space, (plan or MeasurePlan()).seed)
    return measure_space(
        space,
        sums,
        [_unless_ruled_out(probe, profile) for probe in sums.probes],
        table_header(target, space, precision),
        plan or MeasurePlan(),
        export=exporter(target, precision),
        measure=target.measure,
        at_once=target.facts.devices,
        path=path,
        progress=progress,
    )
