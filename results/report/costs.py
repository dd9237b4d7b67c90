"""What a run cost, from its records: time, processors, energy, multiply-accumulates."""

from __future__ import annotations

from collections.abc import Iterable

from results.numbers import count, duration, significant
from results.records import StageSession
from results.report.sources import Sources

_JOULES_OF_A_KWH = 3.6e6
SPENT = ("took", "processor", "GPU", "energy", "MACs: training", "MACs: ranking", "MACs: final")
KINDS = ("training", "ranking", "final")
"""What they are spent on: the supernet, choosing among networks, the trainings of what was chosen."""


def spent_macs(run: Sources) -> dict[str, dict[str, float]]:
    """Multiply-accumulates of trainings and scorings that ended, by the stage and by ``KINDS``.

    A search's scorings count when it has ended, those of networks that were scored before do not.
    Audits and learning block by block are not counted, nor are measuring and running files.
    """
    found = {
        "train": {"training": sum(epoch.macs for epoch in run.epochs)},
        "search": {"ranking": _scoring(run) + _racing(run, last=False), "final": _racing(run, last=True)},
        "compress": {"final": sum(one.macs for one in run.trainings)},
    }
    return {stage: {kind: macs for kind, macs in kinds.items() if macs} for stage, kinds in found.items()}


def _scoring(run: Sources) -> float:
    """Each network that was scored ran over the images for its statistics, then over those of the score."""
    if run.summary is None or run.recipe is None:
        return 0.0
    search = run.recipe.settings.get("search", {})
    images = run.summary.scored_images + int(search.get("calibration_images", 0))
    trials = (trial for trials in run.trials.values() for trial in trials)
    return images * sum(one.costs.get("macs", 0.0) for one in trials if one.ok and one.worker != "known")


def _racing(run: Sources, *, last: bool) -> float:
    """The trainings of a race, those of its last round or the others."""
    final = len(run.race_plan.rungs) - 1 if run.race_plan else None
    return sum(one.training_macs for one in run.raced if (one.rung == final) == last)


def spent(sessions: Iterable[StageSession]) -> list[str]:
    """What sessions took together, a cell for each of ``SPENT``."""
    sessions = list(sessions)
    joules = [one.joules for one in sessions if one.joules is not None]
    gpu = sum(one.gpu_seconds for one in sessions)
    macs = (sum(one.macs.get(kind, 0.0) for one in sessions) for kind in KINDS)
    return [
        duration(sum(one.seconds for one in sessions)),
        duration(sum(one.cpu_seconds or 0.0 for one in sessions)),
        duration(gpu) if gpu else "none",
        f"{significant(sum(joules) / _JOULES_OF_A_KWH, 2)}\u00a0kWh" if joules else "not counted",
        *(count(one) if one else "none" for one in macs),
    ]
