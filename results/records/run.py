"""The records of a run as a whole: its recipe, its origin, its finished stages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from results.records.codec import Record, Wrapped


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeRecord(Wrapped):
    """The recipe of a run with every default filled in; recipe.json.

    Parts bring their own settings, from outside of the project too, so which keys there are is not known
    here. Whoever shows a recipe walks through names and values; whoever works with one reads it as
    ``runners.recipe`` does, which checks it.

    Attributes:
        settings: sections and settings by name.
    """

    settings: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of the recipe; empty where it has none."""
        return str(self.settings.get("name") or "")

    def words(self) -> Iterator[tuple[str, str]]:
        """Every setting as text, by its dotted name: ``train.rule.delay``; tables of a list are numbered."""
        return _flat(self.settings, "")


def _flat(values: dict[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
            yield from _flat({str(place): item for place, item in enumerate(value, 1)}, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _words(value)


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_words(item) for item in value) or "none"
    return str(value) if value not in ("", None) else "not set"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine(Record):
    """The computer that a run was made on.

    Attributes:
        system: operating system and architecture.
        processor: name of the processor.
        cores: processor cores.
        memory_bytes: main memory.
    """

    system: str
    processor: str
    cores: int
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance(Record):
    """Everything needed to repeat a run, and to know where it was made; provenance.json.

    Attributes:
        seed: seed of everything random.
        command: command that began the run.
        date: time at which it began, ISO 8601 with its zone.
        commit: commit of the code, with ``+`` where files differ from it; empty outside of a checkout.
        versions: versions of Python and of the installed packages, by name.
        machine: computer the run was made on.
    """

    seed: int
    command: str
    date: str
    commit: str
    versions: dict[str, str]
    machine: Machine


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTimes(Wrapped):
    """The finished stages of a run in order; stages.json.

    Attributes:
        seconds: time each stage took in its last process, by the stage's name.
    """

    seconds: dict[str, float]
