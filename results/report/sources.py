"""Everything the report shows, read from a run's folder. What is missing or unreadable is said in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from results.files import read_json, read_lines
from results.records import (
    AuditSummary,
    Card,
    CompressedModel,
    EpochRecord,
    FrontEntry,
    LatencyCheck,
    Manifest,
    Mistakes,
    Provenance,
    Raced,
    RacePlan,
    RecipeRecord,
    Record,
    Scouted,
    SearchSummary,
    SpaceRecord,
    StageTimes,
    StepRecord,
    TargetRecord,
    TrainingRecord,
    Trial,
    best_first,
)
from results.records.given import GIVEN
from results.records.handed_over import MISTAKES

_NO_TRIALS = ("race.jsonl", "blocks.jsonl")  # of what lies beside the trials of each searcher

R = TypeVar("R", bound=Record)


@dataclass(slots=True, kw_only=True)
class Sources:
    """The records of a run, finished or not.

    Attributes:
        name: name of the run's folder.
        recipe: recipe as resolved; None where there is none, as with the next six.
        provenance: seed, versions, machine, commit, command that began it.
        manifest: every command that worked on the run.
        audit: audit of the supernet.
        summary: front of the search.
        target: target that was measured.
        space: what the trained space does without.
        checks: whole networks, predicted and measured, by the form that they were measured in.
        stages: seconds of the finished stages, by name.
        forecast: seconds of each stage as foretold before the first; empty where they were not.
        epochs: epochs of the supernet's training.
        trials: trials of each searcher, in the order they ended.
        steps: compression steps of all networks, in the order they were tried.
        trainings: trainings of the compression, in the order they ended.
        scouted: networks that were measured one by one, before any training.
        raced: trainings of networks alone, in the order they ended.
        race_plan: rounds of these; None where there is no race.
        given: result of compressing a model that was given; None in a run that searches.
        cards: cards of the artifacts, the chosen one first.
        mistakes: what the file of an artifact gets wrong, by the artifact's name.
        busy: warnings of the run that other programs kept its machine busy, each once.
        unreadable: files that could not be read and why, in words.
    """

    name: str
    recipe: RecipeRecord | None = None
    provenance: Provenance | None = None
    manifest: Manifest | None = None
    audit: AuditSummary | None = None
    summary: SearchSummary | None = None
    target: TargetRecord | None = None
    space: SpaceRecord | None = None
    checks: dict[str, LatencyCheck] = field(default_factory=dict)
    stages: dict[str, float] = field(default_factory=dict)
    forecast: dict[str, float] = field(default_factory=dict)
    epochs: list[EpochRecord] = field(default_factory=list)
    trials: dict[str, list[Trial]] = field(default_factory=dict)
    steps: list[StepRecord] = field(default_factory=list)
    trainings: list[TrainingRecord] = field(default_factory=list)
    raced: list[Raced] = field(default_factory=list)
    race_plan: RacePlan | None = None
    scouted: list[Scouted] = field(default_factory=list)
    given: CompressedModel | None = None
    cards: list[Card] = field(default_factory=list)
    mistakes: dict[str, Mistakes] = field(default_factory=dict)
    busy: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    @property
    def alone(self) -> bool:
        """Whether networks were ranked by training them alone, without a supernet."""
        return bool(self.scouted) and not self.epochs

    @property
    def computed(self) -> bool:
        """Whether latencies were computed from constants."""
        return self.target is not None and self.target.computed

    @property
    def how(self) -> str:
        """``measured`` or ``computed``, for the words around latencies."""
        return "computed" if self.computed else "measured"

    def entry(self, network: str) -> FrontEntry | None:
        """The front's entry of a network, the largest included."""
        if self.summary is None:
            return None
        return next((entry for entry in self.summary.entries if entry.name == network), None)


def read_run(folder: Path) -> Sources:
    """The records in a run's folder.

    Raises:
        ValueError: the folder is not there.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no run in {folder}: not a folder")
    found = Sources(name=folder.resolve().name)
    found.recipe = _file(found, folder, "recipe.json", RecipeRecord)
    found.provenance = _file(found, folder, "provenance.json", Provenance)
    found.manifest = _file(found, folder, "run.json", Manifest)
    times = _file(found, folder, "stages.json", StageTimes)
    found.stages = times.seconds if times else {}
    foretold = _file(found, folder, "forecast.json", StageTimes)
    found.forecast = foretold.seconds if foretold else {}
    if (folder / "profile").is_dir():
        found.unreadable.append("profile/: written by an older version of Quarry; that version shows it")
    found.target = _file(found, folder, "measure/target.json", TargetRecord)
    first = found.target.precision if found.target else ""
    for path in sorted((folder / "measure").glob("check*.json"), key=lambda one: one.stem):
        form = path.stem.removeprefix("check").removeprefix("-") or first
        if check := _file(found, folder, f"measure/{path.name}", LatencyCheck):
            found.checks[form] = check
    found.busy = _busy(found, folder / "log.txt")
    found.space = _file(found, folder, "train/space.json", SpaceRecord)
    found.audit = _file(found, folder, "audit/audit.json", AuditSummary)
    found.summary = _file(found, folder, "search/front.json", SearchSummary)
    found.epochs = _lines(found, folder, "train/history.jsonl", EpochRecord)
    found.steps = _lines(found, folder, "compress/steps.jsonl", StepRecord)
    found.trainings = _lines(found, folder, "compress/trainings.jsonl", TrainingRecord)
    found.given = _file(found, folder, GIVEN, CompressedModel)
    found.scouted = _lines(found, folder, "measure/scouted.jsonl", Scouted)
    found.raced = _lines(found, folder, "search/race.jsonl", Raced)
    found.race_plan = _file(found, folder, "search/plan.json", RacePlan)
    for path in sorted((folder / "search").glob("*.jsonl")):
        if path.name in _NO_TRIALS:
            continue
        found.trials[path.stem] = _lines(found, folder, f"search/{path.name}", Trial)
    names = (str(path.relative_to(folder)) for path in sorted((folder / "artifacts").glob("*/card.json")))
    cards = (_file(found, folder, name, Card) for name in names)
    found.cards = best_first(card for card in cards if card is not None)
    for card in found.cards:
        if read := _file(found, folder, f"artifacts/{card.name}{MISTAKES}", Mistakes):
            found.mistakes[card.name] = read
    return found


def _file(found: Sources, folder: Path, name: str, kind: type[R]) -> R | None:
    path = folder / name
    if not path.exists():
        return None
    try:
        return kind.from_json(read_json(path))
    except (ValueError, OSError) as error:
        found.unreadable.append(f"{name}: {error}")
        return None


def _busy(found: Sources, log: Path) -> list[str]:
    """The warnings of a busy machine in the log, without the time of each."""
    try:
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    except OSError as error:
        found.unreadable.append(f"log.txt: {error}")
        return []
    said = [line.partition(" warning: ")[2] for line in lines]
    return list(dict.fromkeys(words for words in said if "busy" in words))


def _lines(found: Sources, folder: Path, name: str, kind: type[R]) -> list[R]:
    """The lines that can be read; of those that cannot the first is said, and how many there are."""
    values: list[R] = []
    problems: list[str] = []
    try:
        for line in read_lines(folder / name):
            try:
                values.append(kind.from_json(line))
            except ValueError as error:
                problems.append(str(error))
    except OSError as error:
        problems.append(str(error))
    if problems:
        more = f", and {len(problems) - 1} more like it" if len(problems) > 1 else ""
        found.unreadable.append(f"{name}: {problems[0]}{more}")
    return values
