"""Everything the report shows, read from a run's folder. What is missing or unreadable is said in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from results.files import read_json, read_lines
from results.records import COMPUTED, AuditSummary, Card, EpochRecord, FrontEntry, SearchSummary

T = TypeVar("T")
Json = dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Sources:
    """The records of a run, finished or not.

    Attributes:
        name: of the run.
        recipe: as resolved; None where there is none, as with the next five.
        provenance: seed, versions, machine, commit, command.
        audit: of the supernet.
        summary: the front.
        device: what was profiled, in the form the profile stage writes.
        check: whole networks, predicted and measured, in the form ``nas.costs`` writes.
        stages: finished ones and their seconds.
        epochs: of the supernet's training.
        trials: by searcher, in the order they ended.
        steps: compression steps as ``StepRecord`` writes them.
        cards: of the artifacts, the chosen one first.
        unreadable: what could not be read and why, in words.
    """

    name: str
    recipe: Json | None = None
    provenance: Json | None = None
    audit: AuditSummary | None = None
    summary: SearchSummary | None = None
    device: Json | None = None
    check: Json | None = None
    stages: dict[str, float] = field(default_factory=dict)
    epochs: list[EpochRecord] = field(default_factory=list)
    trials: dict[str, list[Json]] = field(default_factory=dict)
    steps: list[Json] = field(default_factory=list)
    cards: list[Card] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    @property
    def how(self) -> str:
        """``measured`` or ``computed``, for the words around latencies."""
        computed = self.device is not None and self.device["runtime"] == COMPUTED
        return "computed" if computed else "measured"

    def entry(self, network: str) -> FrontEntry | None:
        """The front's entry of a network, the largest included."""
        if self.summary is None:
            return None
        entries = (*self.summary.front, self.summary.largest)
        return next((entry for entry in entries if entry.name == network), None)


def read_run(folder: Path) -> Sources:
    """The records in a run's folder.

    Raises:
        ValueError: the folder is not there.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no run in {folder}: not a folder")
    found = Sources(name=folder.resolve().name)
    found.recipe = _file(found, folder, "recipe.json", _object)
    found.provenance = _file(found, folder, "provenance.json", _object)
    found.stages = _file(found, folder, "stages.json", _object) or {}
    found.device = _file(found, folder, "profile/device.json", _object)
    found.check = _file(found, folder, "profile/check.json", _object)
    found.audit = _file(found, folder, "audit/audit.json", AuditSummary.from_json)
    found.summary = _file(found, folder, "search/front.json", SearchSummary.from_json)
    found.epochs = _lines(found, folder, "train/history.jsonl", EpochRecord.from_json)
    found.steps = _lines(found, folder, "compress/steps.jsonl", _object)
    for path in sorted((folder / "search").glob("*.jsonl")):
        found.trials[path.stem] = _lines(found, folder, f"search/{path.name}", _object)
    for path in sorted((folder / "artifacts").glob("*/card.json")):
        card = _file(found, folder, str(path.relative_to(folder)), Card.from_json)
        if card is not None:
            found.cards.append(card)
    # The best first, judged by validation accuracy: the test data are there to report, not to choose by.
    found.cards.sort(
        key=lambda card: (not card.limit.met, -card.accuracy.validation, card.latency.measured_ms)
    )
    return found


def _object(value: Any) -> Json:
    if not isinstance(value, dict):
        raise ValueError(f"a JSON object was expected, not {value!r:.80}")
    return value


def _file(found: Sources, folder: Path, name: str, parse: Callable[[Any], T]) -> T | None:
    path = folder / name
    if not path.exists():
        return None
    try:
        return parse(read_json(path))
    except (ValueError, OSError) as error:
        found.unreadable.append(f"{name}: {error}")
        return None


def _lines(found: Sources, folder: Path, name: str, parse: Callable[[Any], T]) -> list[T]:
    values: list[T] = []
    try:
        for line in read_lines(folder / name):
            values.append(parse(line))
    except (ValueError, OSError) as error:
        found.unreadable.append(f"{name}: {error}")
    return values
