"""The origin of a run, and the commands that make it again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from results.numbers import duration, significant
from results.records import Provenance, StageSession
from results.report.markup import Html, Piece, absent, facts, join, paragraph, table, tag
from results.report.sources import Sources

_JOULES_OF_A_KWH = 3.6e6


def origin(run: Sources) -> Html:
    """Commands, machine, versions, recipe, times."""
    parts: list[Html] = []
    if run.provenance is None:
        parts.append(absent("The run's provenance is not there, so how it was made is not known."))
    else:
        parts += [tag("h3", "To make it again"), _commands(run, run.provenance), *_machine(run.provenance)]
    parts += _costs(run)
    if run.recipe:
        parts += [tag("h3", "Recipe"), facts(run.recipe.words())]
    return join(parts)


def _commands(run: Sources, made: Provenance) -> Html:
    """Every command that worked on the run, in order, each once."""
    commit = made.commit
    checkout = [f"git checkout {commit.rstrip('+')}"] if commit else []
    sessions = run.manifest.sessions if run.manifest else ()
    commands = dict.fromkeys([made.command, *(session.command for session in sessions)])
    parts = [tag("pre", "\n".join([*checkout, *commands]))]
    if commit.endswith("+"):
        text = "The run was made with changes to that commit that were not committed."
        parts.append(paragraph(text, kind="alarm"))
    others = {session.commit for session in sessions} - {commit}
    if others:
        named = ", ".join(sorted(one[:10] or "outside of a checkout" for one in others))
        parts.append(paragraph(f"Some commands ran with other code: {named}.", kind="alarm"))
    return join(parts)


def _costs(run: Sources) -> Iterator[Html]:
    """What each stage took, in all its sessions."""
    if run.manifest is None or not run.manifest.sessions:
        return
    manifest = run.manifest
    names = list(dict.fromkeys(one.stage for session in manifest.sessions for one in session.stages))
    rows = [_cost(name, manifest.of(name)) for name in names]
    rows.append(_cost("together", [one for name in names for one in manifest.of(name)]))
    yield tag("h3", "What it cost")
    yield table(["stage", "sessions", "took", "processor", "GPU", "energy", "seeds"], rows)
    yield paragraph(
        "Sessions that were stopped, and what was put aside for other settings, count too. Processor time is "
        "that of the command and of what it started and ended; energy is that of the processor packages, "
        "where the system counts it.",
        kind="note",
    )


def _cost(name: str, sessions: list[StageSession]) -> list[Piece]:
    seeds = ", ".join(dict.fromkeys(str(one.seed) for one in sessions))
    return [name, str(len(sessions)), *spent(sessions), seeds]


def spent(sessions: Iterable[StageSession]) -> tuple[str, str, str, str]:
    """What sessions took together: time, processor time, GPU time, energy."""
    sessions = list(sessions)
    joules = [one.joules for one in sessions if one.joules is not None]
    gpu = sum(one.gpu_seconds for one in sessions)
    return (
        duration(sum(one.seconds for one in sessions)),
        duration(sum(one.cpu_seconds or 0.0 for one in sessions)),
        duration(gpu) if gpu else "none",
        f"{significant(sum(joules) / _JOULES_OF_A_KWH, 2)}\u00a0kWh" if joules else "not counted",
    )


def _machine(made: Provenance) -> Iterator[Html]:
    machine = made.machine
    items = [
        ("seed", str(made.seed)),
        ("date", made.date),
        ("commit", made.commit or "not set"),
        ("system", machine.system),
        ("processor", machine.processor),
        ("cores", str(machine.cores)),
        ("memory", f"{machine.memory_bytes / 2**30:.1f} GiB"),
    ]
    yield tag("h3", "Machine and versions")
    yield facts(items)
    yield facts(made.versions.items())
