"""Runs compression steps on a network and keeps only what pays, as measured on the exported file."""

from __future__ import annotations

import copy
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from compress.candidate import Candidate, Context, Step, Timing
from compress.decision import Trial, Verdict, choose, judge_accuracy, judge_speed
from compress.onnx.export import export_onnx
from compress.onnx.why import explain
from compress.saved import FILE, restore, save
from results.files import append_line, read_lines
from results.records import StepRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Compressed:
    """Where a network's compression ended.

    Attributes:
        network: the last float network that was kept.
        file: its file.
        precision: of the file: ``float32`` or ``int8``.
        steps: one record a step, in order.
    """

    network: nn.Module
    file: Path
    precision: str
    steps: tuple[StepRecord, ...]


def run_steps(
    name: str,
    network: nn.Module,
    steps: Sequence[Step],
    context: Context,
    *,
    folder: Path,
    log: Path,
    progress: Callable[[StepRecord], None] = lambda _: None,
) -> Compressed:
    """Tries the steps in order and undoes each that does not pay.

    A step for speed is kept if its file is measured faster than the one before, beyond the noise, and the
    accuracy of all compression so far stays within the tolerance. A step for accuracy is kept if the file
    is more accurate. Killed at any point and called again with the same arguments, it goes on after the
    last recorded step.

    Args:
        name: of the network, in the records.
        network: where compression begins; it is left untouched.
        steps: tried in order; their names must differ.
        context: what they may call.
        folder: of this network's files; a resumed run finds the kept networks there.
        log: one record a line, shared by all networks of a run.
        progress: called with each new record.

    Raises:
        ValueError: the log holds other steps for this network than are asked for, or a saved network
            does not fit.
        OSError: a file cannot be written.
    """
    names = [step.name for step in steps]
    if len(set(names)) != len(names):
        raise ValueError(f"the steps of a job need different names, got {', '.join(names)}")
    done = [step for step in map(StepRecord.from_json, read_lines(log)) if step.network == name]
    if [step.step for step in done] != names[: len(done)]:
        raise ValueError(
            f"{log} has the steps {', '.join(step.step for step in done)} for {name}, but {', '.join(names)} "
            "were asked for; delete it to compress again"
        )
    current = _start(network, context, folder)
    accuracy = best = done[0].accuracy_before if done else context.accuracy(current.file)
    records: list[StepRecord] = []
    for index, step in enumerate(steps):
        place = folder / f"{index + 1}_{step.name}"
        if index < len(done):
            record = done[index]
            if record.kept:
                current = restore(network, context.example, place)
        else:
            current, record = _try(name, step, current, context, place, accuracy=accuracy, best=best)
            append_line(log, record.to_json())
            progress(record)
        if record.kept and record.accuracy_after is not None:
            accuracy, best = record.accuracy_after, max(best, record.accuracy_after)
        records.append(record)
    return Compressed(
        network=current.network, file=current.file, precision=current.precision, steps=tuple(records)
    )


def _start(network: nn.Module, context: Context, folder: Path) -> Candidate:
    place = folder / "0_start"
    if (place / FILE).exists():
        return restore(network, context.example, place)
    file = place / "exported.onnx"
    export_onnx(network, context.example, file)
    saved = save(Candidate(network=copy.deepcopy(network), file=file), place)
    file.unlink()
    return saved


def _try(
    name: str, step: Step, current: Candidate, context: Context, place: Path, *, accuracy: float, best: float
) -> tuple[Candidate, StepRecord]:
    """The candidate to go on with, saved where it is a new one, and the record of the step."""
    began = time.perf_counter()
    scratch = place.with_name(f"{place.name}.tried")
    shutil.rmtree(scratch, ignore_errors=True)  # what a killed attempt left
    scratch.mkdir(parents=True)
    proposals, before, trials, reason = _measure(step, current, context, scratch, accuracy)
    verdicts = [_judge(step, trial, context, best) for trial in trials]
    chosen = choose(trials, verdicts, for_speed=step.for_speed)
    after, kept, result = None, False, current
    if chosen is not None:
        after, kept, reason = proposals[chosen], verdicts[chosen].kept, verdicts[chosen].reason
    size_after = after.file.stat().st_size if after else None
    why = _why(current, after, context) if after and step.for_speed and not kept else ()
    if after and kept:
        result = save(after, place)
    shutil.rmtree(scratch, ignore_errors=True)
    return result, StepRecord(
        network=name,
        step=step.name,
        kept=kept,
        reason=reason,
        proposal=after.label if after else "",
        accuracy_before=accuracy,
        accuracy_after=None if chosen is None else trials[chosen].accuracy_after,
        latency_ms_before=before.median_ms,
        latency_ms_after=None if chosen is None else trials[chosen].after.median_ms,
        size_bytes_before=current.file.stat().st_size,
        size_bytes_after=size_after,
        macs_before=context.macs(current.network),
        macs_after=context.macs(after.network) if after else None,
        params_before=_params(current.network),
        params_after=_params(after.network) if after else None,
        seconds=time.perf_counter() - began,
        why=why,
    )


def _measure(
    step: Step, current: Candidate, context: Context, folder: Path, accuracy: float
) -> tuple[list[Candidate], Timing, list[Trial], str]:
    """Proposals, the latency of what is there, a trial of each proposal, or why there is none."""
    try:
        proposals, problem = step.propose(current, context, folder), ""
        before, *others = context.latency_ms([current.file, *(proposal.file for proposal in proposals)])
    except ValueError as error:  # nothing to propose, or a file that the device does not run
        proposals, problem = [], str(error)
        before, *others = context.latency_ms([current.file])
    trials = [
        Trial(
            before=before,
            after=after,
            accuracy_before=accuracy,
            accuracy_after=context.accuracy(proposal.file),
        )
        for proposal, after in zip(proposals, others, strict=True)
    ]
    return proposals, before, trials, problem


def _judge(step: Step, trial: Trial, context: Context, best: float) -> Verdict:
    if not step.for_speed:
        return judge_accuracy(trial)
    return judge_speed(trial, best_accuracy=best, tolerance=context.tolerance, noise=context.noise)


def _why(current: Candidate, after: Candidate, context: Context) -> tuple[str, ...]:
    """Where the time goes in a proposal that was undone; nothing where this machine cannot run it."""
    try:
        return explain(current.file, after.file, context.calibration[:1]).sentences
    except ValueError:
        return ()


def _params(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
