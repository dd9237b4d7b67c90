"""Stage 2: measure the target."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from nas.costs.layers.probes import layer_kind
from nas.costs.model.fit import Profiled, ProfilePlan
from nas.costs.table.table import LatencyTable, load_table
from results.files import read_json, write_json
from results.records import COMPUTED, TargetRecord
from runners.console import Console
from runners.measuring.layers import Layers, layers_of, profile_on
from runners.measuring.machine import BUSY_CORES, busy_cores
from runners.measuring.power import watts_during
from runners.targets.imported import fit_imported
from runners.targets.profile import HardwareProfile
from runners.targets.ray_nodes import RayDevice
from runners.targets.target import Device
from search_spaces.space import SearchSpace

TABLE, IMPORTED, TARGET = "table.parquet", "imported.parquet", "target.json"
Progress = Callable[[int, int, float], None]


def measure(
    space: SearchSpace,
    target: Device,
    plan: ProfilePlan,
    *,
    left_out: Collection[str],
    folder: Path,
    console: Console,
) -> Profiled:
    """Builds the latency table of a target; writes ``table.parquet``, ``check.json`` and ``target.json``.

    Args:
        space: whose layers and networks are measured.
        target: what they are measured on.
        plan: how much is measured.
        left_out: mixers that the space does without, for the record.
        folder: ``measure/`` of the run; a table that was imported into it takes the place of measuring.
        console: where it speaks.
    """
    profile, identity = target.profile, target.identity()
    imported, computed = imported_table(folder), identity.runtime == COMPUTED
    layers = _find_layers(space, plan, console)
    if imported is not None:
        console.say(f"fitting the table that was measured on {identity.machine}; nothing is measured here")
    elif computed:
        constants = f"the constants of {profile.name} ({identity.machine})"
        console.say(f"computing latencies from {constants}; nothing is measured")
    else:
        console.say(
            f"measuring {len(layers[0].keys)} layers and "
            f"{plan.fit_networks + plan.check_networks} whole networks on {profile.name}: "
            f"{identity.runtime} {identity.runtime_version}, {identity.threads} thread(s), "
            f"{profile.precisions[0]}"
        )
        warn_if_busy(target, folder, console)
    with console.progress("computing" if computed else "measuring") as bar:
        found = profiled(
            space,
            target,
            plan,
            folder=folder,
            layers=layers,
            progress=lambda done, total, _: bar.update(done, total),
        )
    cannot_run = _cannot_run(found.table)
    for kind, reason in cannot_run.items():
        console.say(f"{kind} cannot run there and is not searched: {reason}")
    write_json(folder / "check.json", found.check.to_json())
    watts = profile.machine.watts or _watts(space, target, folder, console)
    write_json(folder / TARGET, _record(target, cannot_run, left_out, watts).to_json())
    if not computed:
        console.say(found.check.summary())
    return found


def profiled(
    space: SearchSpace,
    target: Device,
    plan: ProfilePlan,
    *,
    folder: Path,
    layers: Layers | None = None,
    progress: Progress = lambda _done, _total, _left: None,
) -> Profiled:
    """Table, latency model and check; measures what the table in ``folder`` does not hold yet."""
    layers = layers or layers_of(space, plan.seed)
    imported = imported_table(folder)
    if imported is not None:
        return fit_imported(layers[0], imported, plan.confidence)
    return profile_on(
        target,
        space,
        folder / TABLE,
        plan=plan,
        precision=target.profile.precisions[0],
        layers=layers,
        measurers=target.measurers if isinstance(target, RayDevice) else (),
        progress=progress,
    )


def imported_table(folder: Path) -> LatencyTable | None:
    """A table that was measured elsewhere and takes the place of measuring; None where there is none."""
    file = folder / IMPORTED
    return load_table(file) if file.exists() else None


def watts_of(folder: Path, profile: HardwareProfile) -> float | None:
    """What the target draws, as its profile says or a counter did; None where nobody knows."""
    file = folder / TARGET
    return TargetRecord.from_json(read_json(file)).watts if file.exists() else profile.machine.watts


def _here(target: Device, folder: Path) -> bool:
    """Whether it is this machine that is measured."""
    local = target.profile.backend in ("onnxruntime", "torch", "executorch")
    return local and imported_table(folder) is None and not isinstance(target, RayDevice)


def warn_if_busy(target: Device, folder: Path, console: Console) -> None:
    """Warns where other programs keep the machine that is measured busy."""
    busy = busy_cores() if _here(target, folder) else 0.0
    if busy >= BUSY_CORES:
        console.warn(
            f"other programs keep {busy:.1f} cores busy; what is measured now will be too slow and less "
            f"certain. Stop, let them end, then go on: quarry measure --out {folder.parent}"
        )


def _find_layers(space: SearchSpace, plan: ProfilePlan, console: Console) -> Layers:
    """The distinct layers of the space; those of a space that only builds take a while to find."""
    if space.slots:
        return layers_of(space, plan.seed)
    console.say("running networks of the space to find their layers")
    with console.progress("finding layers") as bar:
        found = layers_of(space, plan.seed, bar.update)
    console.say(f"{len(found[0].keys)} distinct layers found")
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


def _watts(space: SearchSpace, target: Device, folder: Path, console: Console) -> float | None:
    """What this machine draws while it runs the largest network; None where nobody counts."""
    if not _here(target, folder) or target.profile.device != "cpu":
        return None
    largest = space.largest()
    model = target.export(
        space.build(largest).eval(), space.input_shape(largest), target.profile.precisions[0]
    )
    watts = watts_during(lambda: target.measure([model], budget_s=3.0))
    if watts is not None:
        console.say(f"the processor draws {watts:.1f} W meanwhile, other programs included")
    return watts


def _record(
    target: Device, cannot_run: dict[str, str], left_out: Collection[str], watts: float | None
) -> TargetRecord:
    profile, identity = target.profile, target.identity()
    return TargetRecord(
        profile=profile.name,
        summary=profile.summary,
        runtime=identity.runtime,
        runtime_version=identity.runtime_version,
        threads=identity.threads,
        machine=identity.machine,
        precision=profile.precisions[0],
        limits=profile.limits.model_dump(exclude_none=True),
        left_out=tuple(left_out),
        cannot_run=cannot_run,
        watts=watts,
        computed=identity.runtime == COMPUTED,
    )
