"""Where the run came from, and the commands that make it again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from results.report.markup import Html, absent, duration, facts, join, paragraph, table, tag
from results.report.sources import Sources


def origin(run: Sources) -> Html:
    """Commands, machine, versions, recipe, times."""
    parts: list[Html] = []
    if run.provenance is None:
        parts.append(absent("The run's provenance is not there, so how it was made is not known."))
    else:
        parts += [tag("h3", "To make it again"), _commands(run), *_machine(run.provenance)]
    if run.stages:
        rows = [(name, duration(float(seconds))) for name, seconds in run.stages.items()]
        total = sum(float(seconds) for seconds in run.stages.values())
        parts += [tag("h3", "Time"), table(["stage", "took"], [*rows, ("together", duration(total))])]
    if run.recipe:
        parts += [tag("h3", "Recipe"), facts((name, _words(value)) for name, value in _flat(run.recipe))]
    return join(parts)


def _commands(run: Sources) -> Html:
    made = run.provenance or {}
    commit = str(made.get("commit") or "")
    lines = [f"git checkout {commit.rstrip('+')}"] if commit else []
    if made.get("command"):
        lines.append(str(made["command"]))
    parts = [tag("pre", "\n".join(lines))]
    began = str(made.get("command") or "").split()[1:2]  # quarry STAGE or quarry run
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


def _machine(made: dict[str, Any]) -> Iterator[Html]:
    skipped = {"command", "versions", "machine"}
    items = [(name, _words(value)) for name, value in made.items() if name not in skipped]
    machine = made.get("machine")
    if isinstance(machine, dict):
        items += [(name, _words(value)) for name, value in machine.items() if name != "memory_bytes"]
        if isinstance(machine.get("memory_bytes"), int):
            items.append(("memory", f"{machine['memory_bytes'] / 2**30:.1f} GiB"))
    elif machine:
        items.append(("machine", str(machine)))
    yield tag("h3", "Machine and versions")
    yield facts(items)
    versions = made.get("versions")
    if isinstance(versions, dict):
        yield facts((name, str(version)) for name, version in versions.items())


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(_words(item) for item in value) or "none"
    return str(value) if value not in ("", None) else "not set"
