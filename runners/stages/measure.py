"""Stage 1: measure the target."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from compress.failure import reason
from compress.steps.registry import makes
from compress.target import Facts, Target
from nas.costs.layers.probes import layer_kind
from nas.costs.layers.sums import LayerSums, layers_of
from nas.costs.model.fit import Measured, MeasurePlan, fit_table
from nas.costs.table.table import LatencyTable, load_table
from results.files import write_json
from results.precision import MIXED
from results.records import TargetRecord, read_record
from runners.console import Console
from runners.measuring.machine import BUSY_CORES, busy_cores, machine_fingerprint
from runners.measuring.power import may_count, watts_during
from runners.tables.layers import measure_on
from runners.targets.hardware import HardwareProfile
from search_spaces.space import SearchSpace

IMPORTED, TARGET = "imported.parquet", "target.json"
_FEWEST_CHECKED = 3  # networks


def forms_of(facts: Facts, steps: Sequence[str]) -> tuple[str, ...]:
    """The number formats that networks may be handed over in: their *forms*.

    Args:
        facts: what the target can run, the first of its precisions being what networks are exported in.
        steps: names of the compression steps of the recipe; one that makes int8 for the target makes it a
            form.
    """
    first = facts.precisions[0]
    return (first, "int8") if first != "int8" and makes(steps, "int8", facts) else (first,)


def checked_each(plan: MeasurePlan, forms: int) -> int:
    """Whole networks that each of so many forms is checked on: they share those of the plan."""
    return plan.check_networks if forms == 1 else max(_FEWEST_CHECKED, plan.check_networks // forms)


def mixed_form(facts: Facts) -> str:
    """The one form of networks whose parts have number formats of their own, on a target that has both.

    Raises:
        ValueError: it has not, or cannot tell what they cost.
    """
    lacks = (
        "computes latencies and measures none"
        if facts.computed
        else f"takes {facts.format} files, not ONNX"
        if facts.format != "onnx"
        else f"runs {' and '.join(facts.precisions)}"
        if facts.precisions[0] != "fp32" or "int8" not in facts.precisions
        else ""
    )
    if lacks:
        raise ValueError(
            "space.precisions has parts of networks in fp32 and others in int8, measured as ONNX files; "
            f"profile {facts.profile!r} {lacks}"
        )
    return MIXED


def measure(
    space: SearchSpace,
    target: Target,
    profile: HardwareProfile,
    plan: MeasurePlan,
    *,
    forms: Sequence[str],
    left_out: Collection[str],
    folder: Path,
    console: Console,
) -> dict[str, Measured]:
    """Builds the latency table of each form of a target; writes them, their checks and ``target.json``.

    Those of the first form are ``table.parquet`` and ``check.json``, those of another ``table-FORM.parquet``
    and ``check-FORM.json``. Several forms share the networks that a plan has checked.

    Args:
        space: whose layers and networks are measured.
        target: what they are measured on.
        profile: the target's.
        plan: how much is measured.
        forms: number formats to measure in, as ``forms_of`` gives them.
        left_out: mixers that the space does without, for the record.
        folder: ``measure/`` of the run; a table that was imported into it takes the place of measuring.
        console: console of the run.
    """
    facts, imported = target.facts, imported_table(folder)
    layers = _find_layers(space, plan, console)
    plan = replace(plan, check_networks=checked_each(plan, len(forms)))
    if imported is not None:
        console.say(f"fitting the table that was measured on {facts.machine}; nothing is measured here")
    elif facts.computed:
        constants = f"the constants of {profile.name} ({facts.machine})"
        console.say(f"computing latencies from {constants}; nothing is measured")
    else:
        console.say(
            f"measuring {len(layers.keys)} layers and "
            f"{plan.fit_networks + plan.check_networks} whole networks on {profile.name}: "
            f"{facts.runtime} {facts.runtime_version}, {facts.threads} thread(s), "
            + (f"in {' and then in '.join(forms)}" if len(forms) > 1 else forms[0])
        )
        warn_if_busy(target, folder, console)

    def measured_in(form: str) -> Measured:
        if imported is not None:
            return fit_table(imported, layers, plan.confidence)
        name = "computing" if facts.computed else "measuring"
        with console.progress(f"{name} {form}" if len(forms) > 1 else name) as bar:
            return measure_on(
                target,
                profile,
                space,
                _table(folder, form, forms),
                plan=plan,
                precision=form,
                layers=layers,
                progress=lambda done, total, _: bar.update(done, total),
            )

    found = {}
    for form in forms:
        try:
            found[form] = measured_in(form)
        except ValueError as error:
            if form == forms[0]:
                raise
            console.warn(f"no network is handed over in {form}: {error}")
            _table(folder, form, forms).unlink(missing_ok=True)  # what has no table is no form
            continue
        write_json(_check(folder, form, forms), found[form].check.to_json())
        if not facts.computed:
            console.say(f"{form}: {found[form].check.summary()}")
    failures = [_cannot_run(one.table) for one in found.values()]
    cannot_run = {kind: why for kind, why in failures[0].items() if all(kind in one for one in failures)}
    for kind, why in cannot_run.items():
        console.say(f"{kind} cannot run there and is not searched: {why}")
    watts = profile.watts or _watts(space, target, forms[0], console)
    write_json(folder / TARGET, _record(target, profile, tuple(found), cannot_run, left_out, watts).to_json())
    return found


def _table(folder: Path, form: str, forms: Sequence[str]) -> Path:
    return folder / ("table.parquet" if form == forms[0] else f"table-{form}.parquet")


def _check(folder: Path, form: str, forms: Sequence[str]) -> Path:
    return folder / ("check.json" if form == forms[0] else f"check-{form}.json")


def fitted(space: SearchSpace, plan: MeasurePlan, folder: Path, forms: Sequence[str]) -> dict[str, Measured]:
    """Latency model and check of each form from the tables in ``folder``: nothing is measured.

    A form other than the first for which there is no table is left out: when the target was measured no step
    made it.

    Raises:
        ValueError: a table is of another space, or lacks layers or networks of this one.
        FileNotFoundError: there is none of the first form.
    """
    layers = layers_of(space, plan.seed)
    imported = imported_table(folder)
    if imported is not None:
        return {forms[0]: _fitted(imported, space, layers, plan, folder)}
    tables = {form: _table(folder, form, forms) for form in forms}
    return {
        form: _fitted(load_table(file), space, layers, plan, folder)
        for form, file in tables.items()
        if form == forms[0] or file.exists()
    }


def measured_for(space: SearchSpace, folder: Path) -> bool:
    """Whether the tables in ``folder`` are there and of this space."""
    file = folder / "table.parquet"
    table = imported_table(folder) or (load_table(file) if file.exists() else None)
    return table is not None and table.header.space_fingerprint == space.fingerprint


def _fitted(
    table: LatencyTable, space: SearchSpace, layers: LayerSums, plan: MeasurePlan, folder: Path
) -> Measured:
    if table.header.space_fingerprint != space.fingerprint:
        raise ValueError(
            f"the table in {folder} was measured for another space than the one that is searched, which does "
            f"without other mixers; measure again: quarry measure --out {folder.parent}"
        )
    return fit_table(table, layers, plan.confidence)


def imported_table(folder: Path) -> LatencyTable | None:
    """A table that was measured elsewhere and takes the place of measuring; None where there is none."""
    file = folder / IMPORTED
    return load_table(file) if file.exists() else None


def watts_of(folder: Path, profile: HardwareProfile) -> float | None:
    """What the target draws, as its profile says or a counter did; None where nobody knows."""
    file = folder / TARGET
    return read_record(TargetRecord, file).watts if file.exists() else profile.watts


def warn_if_busy(target: Target, folder: Path, console: Console) -> None:
    """Warns where other programs keep the machine that is measured busy."""
    busy = busy_cores() if target.facts.local else 0.0
    if busy >= BUSY_CORES:
        console.warn(
            f"other programs keep {busy:.1f} cores busy; what is measured now will be too slow and less "
            f"certain. Stop, let them end, then go on: quarry measure --out {folder.parent}"
        )


def _find_layers(space: SearchSpace, plan: MeasurePlan, console: Console) -> LayerSums:
    """The distinct layers of the space; those of a space that only builds take a while to find."""
    if space.slots:
        return layers_of(space, plan.seed)
    console.say("running networks of the space to find their layers")
    with console.progress("finding layers") as bar:
        found = layers_of(space, plan.seed, bar.update)
    console.say(f"{len(found.keys)} distinct layers found")
    return found


def _cannot_run(table: LatencyTable) -> dict[str, str]:
    """Kinds of layers of which some did not run, each with one reason and how many there are."""
    layers = table.of("layer")
    found: dict[str, str] = {}
    for kind, group in layers.groupby(layers.index.map(layer_kind)):
        failed = group[group.status != "measured"]
        if len(failed):
            found[str(kind)] = f"{failed.reason.iloc[0]} ({len(failed)} of {len(group)} layers)"
    return found


def counts_power(target: Target) -> bool:
    """Whether what a target draws can be counted: it is this processor, and its counters may be read."""
    facts = target.facts
    return facts.local and facts.machine == machine_fingerprint() and may_count()


def _watts(space: SearchSpace, target: Target, precision: str, console: Console) -> float | None:
    """What this machine draws while it runs the largest network; None where nobody counts."""
    if not counts_power(target):
        return None
    facts, largest = target.facts, space.largest()
    with TemporaryDirectory(prefix="quarry-") as scratch:
        file = Path(scratch) / f"largest.{facts.format}"
        try:
            target.export(space.build(largest).eval(), space.input_shape(largest), file, precision=precision)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # whatever a user's network raises
            console.say(f"the power is not counted: the largest network cannot be exported: {reason(error)}")
            return None
        watts = watts_during(lambda: target.measure([file], budget_s=3.0))
    if watts is not None:
        console.say(f"the processor draws {watts:.1f} W meanwhile, other programs included")
    return watts


def record_target(
    target: Target,
    profile: HardwareProfile,
    *,
    forms: Sequence[str],
    left_out: Collection[str],
    folder: Path,
) -> None:
    """Writes down the target of a run whose networks are measured one by one; ``target.json``."""
    write_json(folder / TARGET, _record(target, profile, forms, {}, left_out, profile.watts).to_json())


def _record(
    target: Target,
    profile: HardwareProfile,
    forms: Sequence[str],
    cannot_run: dict[str, str],
    left_out: Collection[str],
    watts: float | None,
) -> TargetRecord:
    facts = target.facts
    return TargetRecord(
        profile=facts.profile,
        summary=profile.summary,
        runtime=facts.runtime,
        runtime_version=facts.runtime_version,
        threads=facts.threads,
        machine=facts.machine,
        precision=forms[0],
        forms=tuple(forms),
        limits=profile.limits.model_dump(exclude_none=True),
        left_out=tuple(left_out),
        cannot_run=cannot_run,
        watts=watts,
        computed=facts.computed,
    )
