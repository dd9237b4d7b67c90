"""The files of a compressed model: measured side by side, run on the test set, handed over with cards."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from compress.candidate import Candidate
from compress.failure import reason
from compress.onnx.export import INPUT_NAME
from compress.onnx.verify import Verification, verify
from nas.costs.counts.analytic import Counts, count
from results.files import write_json
from results.front import non_dominated
from results.records import (
    Agreement,
    Card,
    CardAccuracy,
    CardInput,
    CardLatency,
    CardProvenance,
    CompressedModel,
    GivenFile,
    LeftAlone,
    LimitMet,
    Reference,
)
from results.records.given import GIVEN
from results.records.handed_over import ARTIFACTS, NAMED
from runners.artifacts.files import write_artifact
from runners.artifacts.verify import MAX_DIFFERENCE
from runners.compressing.goal import Figures, Goal, GoalLimits
from runners.stages.compress import Compressing, measure_files
from runners.stages.export import broken_limits
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
    """

    name: str
    share: float
    candidate: Candidate
    steps: tuple[str, ...]
    accuracy: float


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
    points = np.array([(one.latency_ms, one.size_bytes, -one.accuracy) for one in figures])
    front = {one.name for one, best in zip(made, non_dominated(points), strict=True) if best} | {made[0].name}
    files, checks = [], {}
    for one, timing, known in zip(made, timings, figures, strict=True):
        counts = count(one.candidate.network, work.data.input_shape)
        if one.name in front and (checked := _checked(work, one)) is not None:
            checks[one.name] = checked
        files.append(
            GivenFile(
                name=one.name,
                precision=one.candidate.precision,
                share=one.share,
                accuracy=one.accuracy,
                latency_ms=timing.median_ms,
                low_ms=timing.low_ms,
                high_ms=timing.high_ms,
                size_bytes=known.size_bytes,
                macs=counts.macs,
                params=counts.params,
                missed=limits.missed(known),
                handed_over=one.name in checks,
            )
        )
    if made[0].name not in checks:
        raise ValueError(f"the file of {made[0].name} is not the model that was given")
    original = files[0]
    for stale in (handing.run / ARTIFACTS).glob("*"):  # of another goal
        if stale.is_dir() and stale.name not in checks:
            shutil.rmtree(stale)
    for one, file in zip(made, files, strict=True):
        if file.handed_over:
            _write(handing, one, file, limits, checks[one.name], (original, checks[original.name]))
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
            max_difference=MAX_DIFFERENCE if one.candidate.precision == "fp32" else None,
        )
    except (OSError, MemoryError):
        raise
    except Exception as error:  # whatever a user's network or a runtime raises
        work.console.warn(f"{one.name} is not handed over: {reason(error)}")
        return None


def _write(
    handing: Handing,
    one: Made,
    file: GivenFile,
    limits: GoalLimits,
    checked: Verification,
    original: tuple[GivenFile, Verification],
) -> None:
    work, profile = handing.work, handing.profile
    content, facts, data = one.candidate.file.read_bytes(), work.target.facts, work.data
    counts = count(one.candidate.network, data.input_shape)
    broken = (*_others(limits, file), *_of_profile(profile, counts, one.candidate))
    first, first_checked = original
    card = Card(
        name=one.name,
        file=f"model{one.candidate.file.suffix}",
        sha256=hashlib.sha256(content).hexdigest(),
        arch={"channels": one.share},
        input=CardInput(
            name=INPUT_NAME, shape=(profile.batch, *data.input_shape), dtype=np.dtype(np.float32).name
        ),
        classes=data.classes,
        preprocessing=data.splits.preprocessing,
        accuracy=CardAccuracy(
            validation=one.accuracy,
            float_test=checked.accuracy_network,
            exported_test=checked.accuracy_file,
            test_images=checked.images,
        ),
        agreement=Agreement(
            max_difference=checked.max_difference, same_predictions=checked.equal_predictions
        ),
        latency=CardLatency(
            predicted_ms=None,
            upper_ms=None,
            measured_ms=file.latency_ms,
            low_ms=file.low_ms,
            high_ms=file.high_ms,
            profile=facts.profile,
            runtime=f"{facts.runtime} {facts.runtime_version}",
            threads=facts.threads,
            batch=facts.batch,
            computed=facts.computed,
        ),
        size_bytes=file.size_bytes,
        macs=file.macs,
        params=file.params,
        precision=file.precision,
        steps_kept=one.steps,
        limit=LimitMet(latency_ms=limits.latency_ms, met=not file.missed and not broken, broken=broken),
        reference=Reference(
            name=first.name,
            latency_ms=first.latency_ms,
            exported_test=first_checked.accuracy_file,
            size_bytes=first.size_bytes,
            speedup=first.latency_ms / file.latency_ms,
        ),
        provenance=handing.origin,
    )
    for words in write_artifact(handing.run / ARTIFACTS / one.name, card, one.candidate, data):
        work.console.warn(f"{one.name} is handed over without {words}")


def _others(limits: GoalLimits, file: GivenFile) -> tuple[str, ...]:
    """What a file misses of the goal beside the latency, which a card holds as a number."""
    known = Figures(latency_ms=file.latency_ms, size_bytes=file.size_bytes, accuracy=file.accuracy)
    return replace(limits, latency_ms=None).missed(known)


def _of_profile(profile: HardwareProfile, counts: Counts, candidate: Candidate) -> tuple[str, ...]:
    size_bytes = candidate.file.stat().st_size
    return broken_limits(profile, counts, size_bytes, candidate.precision)
