"""The origin of a run, and the commands that make it again."""

from __future__ import annotations

from collections.abc import Iterator

from results.numbers import duration
from results.records import Provenance
from results.report.markup import Html, absent, facts, join, paragraph, table, tag
from results.report.sources import Sources


def origin(run: Sources) -> Html:
    """Commands, machine, versions, recipe, times."""
    parts: list[Html] = []
    if run.provenance is None:
        parts.append(absent("The run's provenance is not there, so how it was made is not known."))
    else:
        parts += [tag("h3", "To make it again"), _commands(run, run.provenance), *_machine(run.provenance)]
    if run.stages:
        rows = [(name, duration(seconds)) for name, seconds in run.stages.items()]
        total = ("together", duration(sum(run.stages.values())))
        parts += [tag("h3", "Time"), table(["stage", "took"], [*rows, total])]
    if run.recipe:
        parts += [tag("h3", "Recipe"), facts(run.recipe.words())]
    return join(parts)


def _commands(run: Sources, made: Provenance) -> Html:
    commit = made.commit
    checkout = [f"git checkout {commit.rstrip('+')}"] if commit else []
    parts = [tag("pre", "\n".join([*checkout, made.command]))]
    began = made.command.split()[1:2]  # quarry STAGE or quarry run
    others = [stage for stage in run.stages if stage not in began]
    if began and began[0] in run.stages and others:
        parts.append(
            paragraph(
                f"That command began the run. The stages {', '.join(others)} followed with commands of "
                "their own: quarry STAGE --out with the same folder."
            )
        )
    if commit.endswith("+"):
        text = "The run was made with changes to that commit that were not committed."
        parts.append(paragraph(text, kind="alarm"))
    return join(parts)


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
