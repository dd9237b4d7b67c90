"""The origin of a run, and the commands that make it again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from results.numbers import count, duration
from results.records import Provenance, StageSession
from results.report.costs import SPENT, spent
from results.report.markup import Html, Piece, absent, facts, join, paragraph, table, tag
from results.report.sources import Sources


def origin(run: Sources) -> Html:
    """Commands, machine, versions, recipe, times."""
    parts: list[Html] = []
    if run.provenance is None:
        parts.append(absent("The run's provenance is not there, so how it was made is not known."))
    else:
        parts += [tag("h3", "To make it again"), _commands(run, run.provenance), *_machine(run.provenance)]
    parts += [*_costs(run), *_trainings(run)]
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
    told = run.forecast
    rows = [_cost(name, manifest.of(name), told.get(name)) for name in names]
    every = [one for name in names for one in manifest.of(name)]
    rows.append(_cost("together", every, sum(told.values()) or None))
    yield tag("h3", "What it cost")
    yield table(["stage", "sessions", "foretold", *SPENT, "seeds"], rows)
    yield paragraph(
        "The time was foretold before the first stage, from a few steps of each. Sessions that were stopped, "
        "and what was put aside for other settings, count too. Processor time is that of the command, of "
        "what it started and ended, and of Ray's workers; energy is that of the processor packages, where "
        "the system counts it. Multiply-accumulates are those of training the supernet, of ranking networks "
        "(scored or trained alone), and of the final trainings, forward and backward; audits and learning "
        "block by block are not counted.",
        kind="note",
    )


def _cost(name: str, sessions: list[StageSession], foretold_s: float | None) -> list[Piece]:
    seeds = ", ".join(dict.fromkeys(str(one.seed) for one in sessions))
    foretold = "" if foretold_s is None else duration(foretold_s)
    return [name, str(len(sessions)), foretold, *spent(sessions), seeds]


def _trainings(run: Sources) -> Iterator[Html]:
    """Every training with its epochs; those of a race have a table of their own too."""
    rows: list[list[Piece]] = []
    if run.epochs:
        took = sum(epoch.seconds for epoch in run.epochs)
        macs = sum(epoch.macs for epoch in run.epochs)
        rows.append(["the supernet", "from scratch", str(len(run.epochs)), count(macs), duration(took)])
    for rung, group in groupby(run.raced, key=lambda one: one.rung):
        raced = list(group)
        epochs = " or ".join(str(one) for one in sorted({one.epochs for one in raced}))
        name = f"{len(raced)} network{'s' if len(raced) > 1 else ''}, round {rung + 1} of the race"
        macs, took = sum(one.training_macs for one in raced), sum(one.seconds for one in raced)
        rows.append([name, "from scratch", epochs, count(macs), duration(took)])
    rows += [
        [f"{one.network}, {one.step}", one.way, str(one.epochs), count(one.macs), duration(one.seconds)]
        for one in run.trainings
    ]
    if run.audit is not None:
        each = f"{len(run.audit.networks)} networks of the audit"
        rows.append([each, "from scratch", str(run.audit.epochs), "", ""])
        if run.audit.finetune_epochs:
            rows.append([each, "further", str(run.audit.finetune_epochs), "", ""])
    if rows:
        yield tag("h3", "Trainings")
        yield table(["what", "how", "epochs", "MACs", "took"], rows, words=2)


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
