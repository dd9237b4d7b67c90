"""The files of a compressed model: measured side by side, run on the test set, handed over with cards."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from compress.candidate import Candidate
from compress.failure import reason
from compress.onnx.verify import Verification, verify
from nas.costs.counts.analytic import count
from results.files import write_json
from results.front import non_dominated
from results.records import CardProvenance, CompressedModel, GivenFile, LeftAlone, Reference, StepRecord
from results.records.given import GIVEN
from results.records.handed_over import ARTIFACTS, NAMED
from runners.artifacts.card import card_of
from runners.artifacts.files import write_artifact
from runners.artifacts.verify import MAX_DIFFERENCE
from runners.compressing.goal import Figures, Goal
from runners.stages.compress import measure_files
from runners.stages.trainings import Compressing
from runners.targets.hardware import HardwareProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A file that the model was made into.

    Attributes:
        name: name of its artifact.
        share: share of the channels that was asked to be kept.
        candidate: network and file.
        steps: steps that were kept, in order.
        accuracy: accuracy of the file on validation data, in [0, 1].
        latency_ratio: latency over that of the model as it is, as its steps measured them.
    """

    name: str
    share: float
    candidate: Candidate
    steps: tuple[str, ...]
    accuracy: float
    latency_ratio: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Handing:
    """What handing over works with.

    Attributes:
        work: what compression worked with.
        profile: hardware profile of its target.
        goal: what is wanted.
        left: channels that could not be cut.
        origin: settings and provenance, for the cards.
    """

    work: Compressing
    profile: HardwareProfile
    goal: Goal
    left: tuple[LeftAlone, ...]
    origin: CardProvenance

    @property
    def run(self) -> Path:
        """Folder of the whole job."""
        return self.work.folder.parent


def latency_ratio(kept: Sequence[StepRecord]) -> float:
    """Latency after steps that were kept over that before them, each measured beside the other."""
    ratio = 1.0
    for one in kept:
        assert one.latency_ms_after is not None  # of what was kept
        ratio *= one.latency_ms_after / one.latency_ms_before
    return ratio


def hand_over(handing: Handing, made: Sequence[Made]) -> CompressedModel:
    """Writes ``artifacts/NAME/`` of the original and of each file on the front, and ``compress/model.json``.

    On the front is what no other file beats in latency, size and accuracy. A file that is not its network, as
    run on the whole test set, is left out and told.

    Args:
        handing: what it works with.
        made: the files; the model as it is first.

    Raises:
        ValueError: the file of the model as it is does not run, or is not the model.
    """
    work = handing.work
    timings = measure_files(work.target, [one.candidate.file for one in made])
    figures = [
        Figures(
            latency_ms=timing.median_ms,
            size_bytes=one.candidate.file.stat().st_size,
            accuracy=one.accuracy,
        )
        for one, timing in zip(made, timings, strict=True)
    ]
    limits = handing.goal.limits(figures[0])
    checks = _verified(work, made, figures)
    if made[0].name not in checks:
        raise ValueError(f"the file of {made[0].name} is not the model that was given")
    counts = [count(one.candidate.network, work.data.input_shape) for one in made]
    files = [
        GivenFile(
            name=one.name,
            precision=one.candidate.precision,
            share=one.share,
            accuracy=one.accuracy,
            latency_ms=timing.median_ms,
            low_ms=timing.low_ms,
            high_ms=timing.high_ms,
            size_bytes=known.size_bytes,
            macs=counted.macs,
            params=counted.params,
            missed=limits.missed(known),
            handed_over=one.name in checks,
        )
        for one, timing, known, counted in zip(made, timings, figures, counts, strict=True)
    ]
    original = files[0]
    for stale in (handing.run / ARTIFACTS).glob("*"):  # of another goal
        if stale.is_dir() and stale.name not in checks:
            shutil.rmtree(stale)
    reference = Reference(
        name=original.name,
        latency_ms=original.latency_ms,
        exported_test=checks[original.name].accuracy_file,
        size_bytes=original.size_bytes,
        speedup=1.0,
    )
    for one, timing, known, counted in zip(made, timings, figures, counts, strict=True):
        if one.name not in checks:
            continue
        card = card_of(
            one.name,
            one.candidate,
            arch={"channels": one.share},
            data=work.data,
            target=work.target,
            profile=handing.profile,
            watts=handing.profile.watts,
            counts=counted,
            checked=checks[one.name],
            timing=timing,
            validation=one.accuracy,
            steps=one.steps,
            limit_ms=limits.latency_ms,
            broken=replace(limits, latency_ms=None).missed(known),
            reference=reference,
            origin=handing.origin,
        )
        for words in write_artifact(handing.run / ARTIFACTS / one.name, card, one.candidate, work.data):
            work.console.warn(f"{one.name} is handed over without {words}")
    write_json(handing.run / ARTIFACTS / NAMED, [one.name for one in files if one.handed_over])
    answer = limits.answer(
        {one.name: known for one, known in zip(made, figures, strict=True) if one.name in checks}
    )
    found = CompressedModel(
        goal=handing.goal.words,
        latency_ms=limits.latency_ms,
        answer=answer,
        met=not next(one for one in files if one.name == answer).missed,
        files=tuple(files),
        left=handing.left,
    )
    write_json(handing.run / GIVEN, found.to_json())
    return found


def _verified(work: Compressing, made: Sequence[Made], figures: Sequence[Figures]) -> dict[str, Verification]:
    """How the files on the front, and the model as it is, compare with their networks.

    What is not its network leaves the front, where others may take its place.
    """
    points = np.array([(one.latency_ms, one.size_bytes, -one.accuracy) for one in figures])
    standing, checks = list(range(len(made))), dict[str, Verification]()
    while True:
        best = zip(standing, non_dominated(points[standing]), strict=True)
        new = [at for at, on_front in best if (on_front or at == 0) and made[at].name not in checks]
        if not new:
            return checks
        for at in new:
            if checked := _checked(work, made[at]):
                checks[made[at].name] = checked
            else:
                standing.remove(at)


def _checked(work: Compressing, one: Made) -> Verification | None:
    """How a file compares with its network on the test set; None, and told, where it is another."""
    test = work.data.splits.test
    work.console.say(f"running {one.name} on {len(test)} test images")
    try:
        return verify(
            one.candidate.file,
            one.candidate.network,
            (work.data.images(test).numpy(), test.labels.numpy()),
            run=work.target.run,
            score=work.data.score,
            answer=work.data.task.answer,
            max_difference=MAX_DIFFERENCE if one.candidate.precision == "fp32" else None,
        )
    except (OSError, MemoryError):
        raise
    except Exception as error:  # whatever a user's network or a runtime raises
        work.console.warn(f"{one.name} is not handed over: {reason(error)}")
        return None
