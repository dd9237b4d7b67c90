"""Stage 5: the files, each run on the whole test set in its own runtime, measured, and given a card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from compress.candidate import Candidate
from compress.failure import reason
from compress.onnx.verify import Verification, verify
from compress.saved import last_kept
from compress.target import Target
from nas.costs.counts.analytic import count
from results.files import read_lines, write_json
from results.records import (
    Card,
    CardProvenance,
    CardWeights,
    FrontEntry,
    Reference,
    SearchSummary,
    StepRecord,
)
from results.records.handed_over import ARTIFACTS, MISTAKES, NAMED
from results.timing import Timing
from runners.artifacts.card import card_of
from runners.artifacts.files import write_artifact
from runners.artifacts.verify import MAX_DIFFERENCE
from runners.console import Console
from runners.data.prepared import RunData
from runners.scoring.networks import Networks
from runners.stages.compress import compressed_entries
from runners.stages.measure import watts_of
from runners.stages.mistakes import mistakes_of
from runners.stages.together import measured_together
from runners.targets.hardware import HardwareProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporting:
    """What the export works with.

    Attributes:
        networks: networks with their weights.
        data: its test images are run once, here.
        target: files are measured on it.
        profile: the target's.
        summary: result of the search.
        run: the run's folder; files of ``compress/`` go to ``artifacts/``.
        origin: recipe and provenance, for the cards.
        console: console of the run.
    """

    networks: Networks
    data: RunData
    target: Target
    profile: HardwareProfile
    summary: SearchSummary
    run: Path
    origin: CardProvenance
    console: Console


def export_files(work: Exporting) -> None:
    """Writes ``artifacts/NAME/`` with the model, its card, and a README for each compressed network.

    A network whose file does not run, or is not the network, is left out and told;
    ``artifacts/networks.json`` names the others.

    Raises:
        ValueError: none is left.
    """
    test = (work.data.images(work.data.splits.test).numpy(), work.data.splits.test.labels.numpy())
    found = _compressed(work)
    files = [candidate.file for _, candidate in found]
    largest, largest_file = _largest(work)
    if largest is None:
        timings, _ = measured_together(work.target, files, None, work.console)
        reference = None
    else:
        before = _before(work)
        timings, earlier_ms = measured_together(work.target, [*files, largest_file], before, work.console)
        reference = _reference(work, largest, largest_file, timings.pop(), test, earlier_ms)
    named, reasons = [], []
    for (entry, candidate), timing in zip(found, timings, strict=True):
        try:
            if timing.status != "measured":
                raise ValueError(f"its file does not run on {work.target.facts.profile}: {timing.reason}")
            _hand_over(work, entry, candidate, timing, test, reference)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # whatever a user's network or a runtime raises
            reasons.append(f"{entry.name}: {reason(error)}")
            work.console.warn(f"{entry.name} is not handed over: {reason(error)}")
        else:
            named.append(entry.name)
    if not named:
        raise ValueError(f"no network can be handed over; {'; '.join(reasons)}")
    write_json(work.run / ARTIFACTS / NAMED, named)


def _hand_over(
    work: Exporting,
    entry: FrontEntry,
    candidate: Candidate,
    timing: Timing,
    test: tuple[NDArray[Any], NDArray[Any]],
    reference: Reference | None,
) -> None:
    """Writes what is handed over of one network, after its file was run on the whole test set.

    Raises:
        ValueError: the file is not the network.
    """
    split = work.data.splits.test
    work.console.say(f"running {entry.name} on {len(split)} test images")
    given: list[NDArray[Any]] = []

    def run(file: Path, images: NDArray[Any]) -> NDArray[Any]:
        given.append(work.target.run(file, images))
        return given[-1]

    checked = verify(
        candidate.file,
        candidate.network,
        test,
        run=run,
        score=work.data.score,
        answer=work.data.task.answer,
        max_difference=MAX_DIFFERENCE if candidate.precision == "fp32" else None,
    )
    card = _card(work, entry, candidate, timing, checked, reference)
    folder = work.run / ARTIFACTS / entry.name
    for words in write_artifact(folder, card, candidate, work.data):
        work.console.warn(f"{entry.name} is handed over without {words}")
    if found := mistakes_of(np.concatenate(given), test[1], split.images.numpy(), work.data.splits.classes):
        write_json(folder.with_name(f"{entry.name}{MISTAKES}"), found.to_json())


def _largest(work: Exporting) -> tuple[nn.Module | None, Path]:
    """The largest network and its file; none where there is none, or where it cannot be exported."""
    file = work.run / "compress" / f"largest.{work.target.facts.format}"
    try:
        largest = work.networks.teacher()
        if largest is not None:
            precision = work.target.facts.float_precision
            work.target.export(largest, work.data.input_shape, file, precision=precision)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # whatever a user's network or an exporter raises
        work.console.warn(f"nothing is set beside the largest network, which fails: {reason(error)}")
        return None, file
    return largest, file


def _before(work: Exporting) -> FrontEntry | None:
    """What the search measured of the largest network, where that was in the form it is exported in now."""
    entry = work.summary.largest
    return entry if entry is not None and entry.precision == work.target.facts.float_precision else None


def _reference(
    work: Exporting,
    largest: nn.Module,
    file: Path,
    timing: Timing,
    test: tuple[NDArray[Any], NDArray[Any]],
    earlier_ms: float | None,
) -> Reference | None:
    """The largest network as it is compared with; None where its file does not run."""
    try:
        if timing.status != "measured":
            raise ValueError(timing.reason)
        checked = verify(file, largest, test, run=work.target.run, score=work.data.score)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # whatever a user's network or a runtime raises
        work.console.warn(f"nothing is set beside the largest network, which does not run: {reason(error)}")
        return None
    return Reference(
        name="largest",
        latency_ms=timing.median_ms,
        exported_test=checked.accuracy_file,
        size_bytes=file.stat().st_size,
        speedup=1.0,
        earlier_ms=earlier_ms,
    )


def _compressed(work: Exporting) -> list[tuple[FrontEntry, Candidate]]:
    """The networks of the front that were compressed, and what compression made of them."""
    folder = work.run / "compress"
    return [
        (
            entry,
            last_kept(
                work.networks.network(entry.arch),
                work.data.example,
                folder / entry.name,
                _steps(work, entry.name),
            ),
        )
        for entry in compressed_entries(folder, work.summary)
    ]


def _steps(work: Exporting, network: str) -> tuple[StepRecord, ...]:
    """The records of a network's compression, in order."""
    lines = read_lines(work.run / "compress" / "steps.jsonl")
    return tuple(step for step in map(StepRecord.from_json, lines) if step.network == network)


def _weights(steps: Sequence[StepRecord]) -> CardWeights | None:
    """The accuracies with inherited, fine-tuned and retrained weights, and which were kept last; None where
    there was no choice.

    Of a kind of step that stands there twice (``finetune-2``) the last one counts.
    """
    named = {"finetune": "finetuned", "retrain": "retrained"}
    if not any(step.step.partition("-")[0] in named for step in steps):
        return None  # weights were not chosen among
    after: dict[str, float | None] = {}
    kept = "inherited"
    for step in steps:
        name = named.get(step.step.partition("-")[0])
        if name is not None:
            after[name] = step.accuracy_after
            kept = name if step.kept else kept
    return CardWeights(
        inherited=steps[0].accuracy_before,
        finetuned=after.get("finetuned"),
        retrained=after.get("retrained"),
        kept=kept,
    )


def _card(
    work: Exporting,
    entry: FrontEntry,
    candidate: Candidate,
    timing: Timing,
    checked: Verification,
    reference: Reference | None,
) -> Card:
    steps = _steps(work, entry.name)
    card = card_of(
        entry.name,
        candidate,
        arch=entry.arch,
        data=work.data,
        target=work.target,
        profile=work.profile,
        watts=watts_of(work.run / "measure", work.profile),
        counts=count(candidate.network, work.data.input_shape),
        checked=checked,
        timing=timing,
        validation=_validated(work, candidate),
        steps=[step.step for step in steps if step.kept],
        limit_ms=work.summary.limit_ms,
        reference=reference,
        origin=work.origin,
        predicted_ms=entry.predicted_ms,
        upper_ms=entry.upper_ms,
        weights=_weights(steps),
    )
    for words in card.limit.broken:
        work.console.warn(f"{entry.name} does not fit profile {work.profile.name}: {words}")
    return card


def _validated(work: Exporting, candidate: Candidate) -> float:
    """Accuracy of a file on the validation images."""
    validation = work.data.splits.val
    outputs = work.target.run(candidate.file, work.data.images(validation).numpy())
    return work.data.score(outputs, validation.labels.numpy())
