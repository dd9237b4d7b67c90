"""The records of a run as a whole: its recipe, its origin, its finished stages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
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
        seconds: time each stage took in all its sessions, by the stage's name.
    """

    seconds: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSession(Record):
    """One process's work on one stage.

    Attributes:
        stage: name of the stage.
        seed: seed that the stage had.
        began: time at which it began, ISO 8601 with its zone.
        seconds: time it took; of a process that was killed, until its last word in the log.
        cpu_seconds: processor time of this process, of those it started that have ended, and of Ray's
            workers; None where it was killed.
        gpu_seconds: time for which a GPU was held.
        joules: energy of the processor packages, with what else ran on them; None where nothing counts it.
        macs: multiply-accumulates of trainings and scorings that had ended by its end and were in no earlier
            session: of ``training`` the supernet, of ``ranking`` networks, of the ``final`` trainings.
        finished: whether it came to its end.
        put_aside: whether what it made was put aside later, for other settings.
    """

    stage: str
    seed: int
    began: str
    seconds: float = 0.0
    cpu_seconds: float | None = None
    gpu_seconds: float = 0.0
    joules: float | None = None
    macs: dict[str, float] = field(default_factory=dict)
    finished: bool = False
    put_aside: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Session(Record):
    """One command that worked on a run.

    Attributes:
        command: command as it was called.
        date: time of its first stage, ISO 8601 with its zone.
        commit: commit of the code, as in ``Provenance``.
        versions: versions of Python and of the installed packages, by name.
        stages: its work on stages, in order.
    """

    command: str
    date: str
    commit: str
    versions: dict[str, str]
    stages: tuple[StageSession, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest(Record):
    """Every command that worked on a run; run.json.

    Attributes:
        sessions: commands in order.
        schema: form of this record.
    """

    sessions: tuple[Session, ...] = ()
    schema: int = 1

    def of(self, stage: str) -> list[StageSession]:
        """The sessions of a stage, those whose work was put aside included."""
        return [one for session in self.sessions for one in session.stages if one.stage == stage]

    def seconds(self, stage: str) -> float:
        """Time that went into what a stage has now: its last finished session and unfinished ones before."""
        total = 0.0
        for place, one in enumerate(reversed([one for one in self.of(stage) if not one.put_aside])):
            if place and one.finished:
                break
            total += one.seconds
        return total

    def macs(self, stage: str) -> dict[str, float]:
        """Multiply-accumulates that went into what a stage has now, by what they were spent on."""
        total: dict[str, float] = {}
        for one in self.of(stage):
            for kind, macs in one.macs.items() if not one.put_aside else ():
                total[kind] = total.get(kind, 0.0) + macs
        return total
