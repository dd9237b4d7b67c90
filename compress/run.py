"""Runs compression steps on a network and keeps only what pays, as measured on the exported file."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from compress.candidate import Candidate, Context, Step
from compress.decision import (
    Comparison,
    Decision,
    choose,
    decide_by_accuracy,
    decide_by_size,
    decide_by_speed,
)
from compress.failure import UnusableError, reason
from compress.plain import faithful_copy
from compress.saved import SavedError, differing_weights, is_saved, place_of, restore, save
from compress.steps.registry import step_names, unmet_needs
from compress.why import explain
from results.files import append_line, read_lines
from results.records import StepRecord
from results.timing import Timing


def run_steps(
    name: str,
    network: nn.Module,
    steps: Sequence[Step],
    context: Context,
    *,
    folder: Path,
    log: Path,
    begin: Callable[[str], None] = lambda _: None,
    progress: Callable[[StepRecord], None] = lambda _: None,
) -> tuple[Candidate, tuple[StepRecord, ...]]:
    """Tries the steps in order and undoes each that does not pay.

    A step for speed is kept if its file is measured faster than the one before, beyond the noise (or smaller,
    where the context says so), and the accuracy of all compression so far stays within the tolerance; it is
    not tried on a file that is within the context's limit. A step for accuracy is kept if the file is more
    accurate. Killed at any point and called again with the same arguments, it goes on after the last recorded
    step.

    Whatever a step raises costs that step alone: it is undone, with what was raised as its reason. Only an
    OSError (the disk is full, the target is gone) ends the run, which goes on from there.

    Args:
        name: Name of the network in the records.
        network: Network that compression begins with; it is left untouched.
        steps: Steps in order. The second of one kind is called ``prune-2`` in the records.
        context: What the steps may call.
        folder: Folder of this network's files; a resumed run finds the kept networks there.
        log: File of records, one a line, shared by all networks of a run.
        begin: Called with the name of a step before it is tried.
        progress: Called with each new record.

    Returns:
        The last candidate that was kept, and a record of each step in order.

    Raises:
        ValueError: the log holds other steps for this network than are asked for, a saved network does not
            fit, or the folder was begun with another network.
        UnusableError: the network itself cannot be exported or counted, or does not run on the target.
        OSError: a file cannot be written, or the target is gone.
    """
    names = step_names(steps)
    done = [record for record in map(StepRecord.from_json, read_lines(log)) if record.network == name]
    if [record.step for record in done] != names[: len(done)]:
        raise ValueError(
            f"{log} has the steps {', '.join(record.step for record in done)} for {name}, but "
            f"{', '.join(names)} were asked for; delete {folder} and {log} to compress again"
        )
    with _of_the_network(name):  # early: no step is at fault here
        current = _start(name, network, context, folder, log)
        macs = done[0].macs_before if done else context.macs(current.network)
        accuracy = best = done[0].accuracy_before if done else context.accuracy(current.file)
    records: list[StepRecord] = []
    for index, (step, step_name) in enumerate(zip(steps, names, strict=True)):
        place = place_of(folder, index + 1, step_name)
        if index < len(done):
            record = done[index]
            if record.kept:
                current = restore(network, context.example, place)
        else:
            begin(step_name)
            began = time.perf_counter()
            tried = _try(step, current, context, place, accuracy=accuracy, best=best)
            seconds = time.perf_counter() - began
            record = _record(name, step_name, current, tried, macs, accuracy, seconds=seconds)
            current = tried.result
            append_line(log, record.to_json())
            progress(record)
        if record.kept and record.accuracy_after is not None:
            accuracy, best = record.accuracy_after, max(best, record.accuracy_after)
        if record.kept and record.macs_after is not None:
            macs = record.macs_after
        records.append(record)
    return current, tuple(records)


@contextmanager
def _of_the_network(name: str) -> Iterator[None]:
    try:
        yield
    except SavedError:
        raise
    except Exception as error:  # whatever a user's network, an exporter or a runtime raises
        raise UnusableError(f"{name} cannot be compressed: {reason(error)}") from error


def _start(name: str, network: nn.Module, context: Context, folder: Path, log: Path) -> Candidate:
    place = place_of(folder, 0, "start")
    if is_saved(place):
        if different := differing_weights(network, place):
            raise SavedError(
                f"{place} is of another network than the {name} given: {different} differs; delete {folder} "
                f"and {log} to compress again"
            )
        return restore(network, context.example, place)
    file = context.file(place, "exported")
    context.export(network, file)
    precision = context.target.facts.float_precision
    saved = save(Candidate(network=faithful_copy(network), file=file, precision=precision), place)
    file.unlink()
    return saved


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tried:
    """What came of a step.

    Attributes:
        result: Candidate to go on with, saved where it is a new one.
        decision: Whether it was kept, and why.
        before: Latency of the file that was there.
        after: Candidate the decision is about; None where there was none, as with the next two.
        comparison: Measurements of that candidate beside what it would replace.
        macs: Multiply-accumulates of its network.
        why: Sentences on where its time goes, if it was undone.
    """

    result: Candidate
    decision: Decision
    before: Timing
    after: Candidate | None = None
    comparison: Comparison | None = None
    macs: int | None = None
    why: tuple[str, ...] = ()


def _try(
    step: Step, current: Candidate, context: Context, place: Path, *, accuracy: float, best: float
) -> _Tried:
    shutil.rmtree(place, ignore_errors=True)  # an attempt killed before its record may have been kept
    scratch = place.with_name(f"{place.name}.tried")
    shutil.rmtree(scratch, ignore_errors=True)  # what a killed attempt left
    scratch.mkdir(parents=True)
    try:
        candidates, comparisons, macs, problem = _compare(step, current, context, scratch, accuracy)
        decisions = [_decide(step, comparison, context, best) for comparison in comparisons]
        chosen = choose(
            comparisons,
            decisions,
            for_speed=step.for_speed,
            limit_ms=context.limit_ms,
            by_size=context.by_size,
        )
        if chosen is None:
            (before,) = _measure(context, [current.file])
            _refuse_unmeasured(current.file, before, context)
            decision = Decision(kept=False, reason=problem)
            return _Tried(result=current, decision=decision, before=before)
        after, comparison, decision = candidates[chosen], comparisons[chosen], decisions[chosen]
        return _Tried(
            result=save(after, place) if decision.kept else current,
            decision=decision,
            before=comparison.before,
            after=after,
            comparison=comparison,
            macs=macs[chosen],
            why=_why(current, after, context) if step.for_speed and not decision.kept else (),
        )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _compare(
    step: Step, current: Candidate, context: Context, folder: Path, accuracy: float
) -> tuple[list[Candidate], list[Comparison], list[int], str]:
    """The candidates that run, each beside what is there, and their MACs, or why there are none."""
    try:
        if problem := unmet_needs(step, context.target.facts) or _fast_enough(step, current, context):
            return [], [], [], problem
        proposed = step.propose(current, context, folder)
        before, *others = _measure(context, [current.file, *(candidate.file for candidate in proposed)])
        _refuse_unmeasured(current.file, before, context)
        candidates, comparisons, macs = [], [], []
        problem = "there was nothing to propose"
        for candidate, after in zip(proposed, others, strict=True):
            if after.status != "measured":
                problem = f"{candidate.label or 'its file'} does not run on the target: {after.reason}"
                continue
            macs.append(context.macs(candidate.network))
            candidates.append(candidate)
            comparisons.append(
                Comparison(
                    before=before,
                    after=after,
                    accuracy_before=accuracy,
                    accuracy_after=context.accuracy(candidate.file),
                    size_before=current.file.stat().st_size,
                    size_after=candidate.file.stat().st_size,
                )
            )
        return candidates, comparisons, macs, problem
    except Exception as error:  # whatever a strange step, network or library raises
        return [], [], [], reason(error)


def _fast_enough(step: Step, current: Candidate, context: Context) -> str:
    """Why a step for speed is not wanted any more, in words; nothing where it is."""
    if context.limit_ms is None or not step.for_speed:
        return ""
    (timing,) = _measure(context, [current.file])
    if timing.status != "measured" or timing.high_ms > context.limit_ms:
        return ""
    return (
        f"not tried: the file takes {timing.median_ms:.3f} ms, within the limit of {context.limit_ms:.4g} ms"
    )


def _measure(context: Context, files: Sequence[Path]) -> list[Timing]:
    return context.target.measure(files, budget_s=context.seconds_each * len(files))


def _refuse_unmeasured(file: Path, timing: Timing, context: Context) -> None:
    if timing.status != "measured":
        raise UnusableError(
            f"{file} does not run on target {context.target.facts.profile!r}: {timing.reason}"
        )


def _decide(step: Step, comparison: Comparison, context: Context, best: float) -> Decision:
    if not step.for_speed:
        return decide_by_accuracy(comparison)
    if context.by_size:
        return decide_by_size(comparison, best_accuracy=best, tolerance=context.tolerance)
    return decide_by_speed(
        comparison,
        best_accuracy=best,
        tolerance=context.tolerance,
        noise=context.noise,
        certain=context.certain,
    )


def _why(current: Candidate, after: Candidate, context: Context) -> tuple[str, ...]:
    """Sentences on where the time of an undone candidate goes; none where the target does not tell."""
    target = context.target
    images = context.calibration[: target.facts.batch]
    try:
        before, now = (target.operator_times(file, images) for file in (current.file, after.file))
        return explain(before, now, after.network)
    except (OSError, MemoryError):
        raise
    except Exception:  # no measurement is lost for want of an explanation
        return ()


def _record(
    name: str,
    step_name: str,
    current: Candidate,
    tried: _Tried,
    macs: int,
    accuracy: float,
    *,
    seconds: float,
) -> StepRecord:
    after, comparison = tried.after, tried.comparison
    return StepRecord(
        network=name,
        step=step_name,
        kept=tried.decision.kept,
        reason=tried.decision.reason,
        candidate=after.label if after else "",
        accuracy_before=accuracy,
        accuracy_after=comparison.accuracy_after if comparison else None,
        latency_ms_before=tried.before.median_ms,
        latency_ms_after=comparison.after.median_ms if comparison else None,
        size_bytes_before=current.file.stat().st_size,
        size_bytes_after=comparison.size_after if comparison else None,
        macs_before=macs,
        macs_after=tried.macs,
        params_before=_params(current.network),
        params_after=_params(after.network) if after else None,
        seconds=seconds,
        why=tried.why,
    )


def _params(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
