"""Files that a model is made into, one after another, until one meets the goal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import nn

from compress.candidate import Candidate, Context, Step
from compress.run import run_steps
from compress.steps import Cluster, Prune, Quantize, QuantizeAware, Shorten
from compress.steps.registry import unmet_needs
from results.files import append_line, read_lines
from results.records import StepRecord
from runners.compressing.goal import Figures, Goal, GoalLimits, UnreachableError
from runners.compressing.hand_over import Made, latency_ratio
from runners.compressing.options import Options
from runners.compressing.scan import Looking, Scan, looked_closer, next_share, scan
from runners.compressing.shorter import Shorter
from runners.console import Bar
from runners.stages.compress import context_of
from runners.stages.trainings import Compressing, recorded


class Making:
    """Cuts, trains and quantizes; finished steps are read, not repeated."""

    def __init__(self, work: Compressing, given: nn.Module, goal: Goal, options: Options) -> None:
        self._work, self._given, self._goal, self._options = work, given, goal, options
        self._bar: Bar | None = None
        context = context_of(work, self._on_step)
        # On a busy machine a cut that took an hour to train is not undone for wide intervals.
        self._context = replace(context, by_size=goal.by_size, tolerance=1.0, certain=False)
        self._judging = replace(self._context, tolerance=options.tolerance, certain=True)
        self._int8 = not unmet_needs(Quantize(), work.target.facts)
        self.scanned: Scan
        self.limits: GoalLimits

    def files(self) -> list[Made]:
        """The files, the model as it is first.

        Raises:
            UnreachableError: no share of the channels meets the goal.
        """
        work, options = self._work, self._options
        with work.console.progress("compressing") as self._bar:
            original = self._original()
            self._bar.begin("looking ahead")
            looking = Looking(
                shares=options.shares,
                folder=work.folder,
                importance=options.importance,
                say=work.console.say,
            )
            start = original.candidate
            self.scanned = scan(start, self._context, looking)
            known = self.scanned.original
            limits = self.limits = self._goal.limits(
                Figures(latency_ms=known.latency_ms, size_bytes=known.size_bytes, accuracy=original.accuracy)
            )
            self._refuse_unreachable(limits)
            made = [original, *self._smaller(original)]
            if not self._met(made, limits):
                self.scanned = looked_closer(self.scanned, start, self._context, looking, limits)
            before, plan = self._shortened_before(), self.scanned.shorter(limits)
            for one in before.values():
                made += self._shortened(one)
            if plan is not None and self._plan_name(plan) not in before and not self._met(made, limits):
                append_line(self._shorter_log, plan.to_json())
                made += self._shortened(plan)
            most = max(1, options.networks - (plan is not None))
            tried: dict[float, bool] = {}
            while not self._met(made, limits) and (
                (share := next_share(self.scanned, limits, tried, most)) is not None
            ):
                found = self._cut(share)
                # Undone, as no cut is here for its accuracy, it was no faster: what may be is a smaller one.
                tried[share] = (
                    not found
                    or limits.accuracy is None
                    or any(one.accuracy >= limits.accuracy - 1e-9 for one in found)
                )
                made += found
            for share in sorted(self._cut_before() - set(tried)):
                made += self._cut(share)
            return made

    @property
    def _shorter_log(self) -> Path:
        return self._work.folder / "shorter.jsonl"

    def _shortened_before(self) -> dict[str, Shorter]:
        """Blocks that were left out already, for whatever goal, by the name of what came of it."""
        plans = [Shorter.from_json(line) for line in read_lines(self._shorter_log)]
        return {self._plan_name(one): one for one in plans}

    def _met(self, made: Sequence[Made], limits: GoalLimits) -> bool:
        """Whether a file is within a limit on latency or size: what is smaller would only be less accurate.

        By what the steps measured, so that the same call again comes to the same.
        """
        if limits.latency_ms is None and limits.size_bytes is None:
            return False
        first, safe = self.scanned.original, limits.safe()
        return any(
            not safe.missed(
                Figures(
                    latency_ms=first.latency_ms * one.latency_ratio,
                    size_bytes=one.candidate.file.stat().st_size,
                    accuracy=one.accuracy,
                )
            )
            for one in made
        )

    def _cut_before(self) -> set[float]:
        """Shares that were cut and trained already, for whatever goal."""
        names = {self._name(one.share): one.share for one in self.scanned.files if one.share < 1}
        return {names[line["network"]] for line in read_lines(self._log) if line["network"] in names}

    def _original(self) -> Made:
        name = self._options.name
        candidate, _ = self._steps(name, self._given, [], self._context)
        accuracy = self._context.accuracy(candidate.file)
        classes, images = len(self._work.data.classes), len(self._work.data.splits.val)
        self._work.console.say(f"as it is, {name} classifies {accuracy:.1%} of {images} validation images")
        if accuracy < 1.5 / classes:
            self._work.console.warn(
                f"that is about chance with {classes} classes: are these its weights, and are mean, std, the "
                "size of the images and the order of the classes those that it was trained with?"
            )
        return Made(name=name, share=1.0, candidate=candidate, steps=(), accuracy=accuracy)

    def _cut(self, share: float) -> list[Made]:
        """The model with a share of its channels, trained, as floats and as int8."""
        return self._finished(self._name(share), share, [self._pruning(share)])

    def _pruning(self, share: float) -> Prune:
        return Prune(keep=share, counts=self.scanned.counts, importance=self._options.importance)

    def _shortened(self, plan: Shorter) -> list[Made]:
        """The model without some blocks, and with a share of its channels, as floats and as int8."""
        steps: list[Step] = [Shorten(speedup=plan.speedup)]
        if plan.share < 1:
            less = max(1, self._options.epochs // 2)  # the other half follows
            steps.insert(0, replace(self._pruning(plan.share), epochs=less))
        return self._finished(self._plan_name(plan), plan.share, steps)

    def _finished(self, name: str, share: float, steps: list[Step]) -> list[Made]:
        """What steps that cut and train make of the model, as floats and as int8; nothing if undone."""
        candidate, records = self._steps(name, self._given, steps, self._context)
        if not records[-1].kept:
            return []
        kept = [one for one in records if one.kept]
        accuracy = kept[-1].accuracy_after
        assert accuracy is not None  # of what was kept
        made = Made(
            name=name,
            share=share,
            candidate=candidate,
            steps=tuple(one.step for one in kept),
            accuracy=accuracy,
            latency_ratio=latency_ratio(kept),
        )
        return [made, *self._smaller(made)]

    def _smaller(self, made: Made) -> list[Made]:
        """The same network in fewer bits."""
        quantized = self._quantized(made)
        return [*quantized, *self._clustered(made, met=self._met(quantized, self.limits))]

    def _clustered(self, made: Made, *, met: bool) -> list[Made]:
        """The same with weights of few values, no faster: for a goal of the size alone that is not met."""
        name = f"{made.name}-palette"
        wanted = self._goal.by_size and not met and not unmet_needs(Cluster(), self._work.target.facts)
        if not wanted and not self._recorded(name):
            return []
        return self._kept(made, name, *self._steps(name, made.candidate.network, [Cluster()], self._judging))

    def _quantized(self, made: Made) -> list[Made]:
        if not self._int8:
            return []
        name = f"{made.name}-int8"
        network = made.candidate.network
        steps: list[Step] = [Quantize(), QuantizeAware()]
        both = self._recorded(name) > 1  # by a call before this one, which was stopped or had another goal
        candidate, records = self._steps(name, network, steps if both else steps[:1], self._judging)
        most = (self.limits.latency_ms or math.inf) / (self.scanned.original.latency_ms * made.latency_ratio)
        if not both and _lost_too_much(records[0], by_size=self._goal.by_size, most=most):
            candidate, records = self._steps(name, network, steps, self._judging)
        return self._kept(made, name, candidate, records)

    def _kept(self, made: Made, name: str, candidate: Candidate, records: Sequence[StepRecord]) -> list[Made]:
        """What steps made of a file, where one was kept."""
        kept = [one for one in records if one.kept]
        if not kept or kept[-1].accuracy_after is None:
            return []
        return [
            Made(
                name=name,
                share=made.share,
                candidate=candidate,
                steps=(*made.steps, *(one.step for one in kept)),
                accuracy=kept[-1].accuracy_after,
                latency_ratio=made.latency_ratio * latency_ratio(kept),
            )
        ]

    def _plan_name(self, plan: Shorter) -> str:
        return f"{self._name(plan.share)}-shorter-{plan.speedup:.3g}"

    def _name(self, share: float) -> str:
        return f"{self._options.name}-{100 * share:g}"

    @property
    def _log(self) -> Path:
        return self._work.folder / "steps.jsonl"

    def _recorded(self, name: str) -> int:
        """Steps of a file that the log has."""
        return sum(line["network"] == name for line in read_lines(self._log))

    def _steps(
        self, name: str, network: nn.Module, steps: list[Step], context: Context
    ) -> tuple[Candidate, tuple[StepRecord, ...]]:
        return run_steps(
            name,
            network,
            steps,
            context,
            folder=self._work.folder / name,
            log=self._log,
            begin=partial(self._begin, name),
            progress=partial(recorded, self._work),
        )

    def _begin(self, name: str, step: str) -> None:
        if self._bar is not None:
            self._bar.begin(f"{name}, {step}")

    def _on_step(self, done: int, total: int) -> None:
        if self._bar is not None:
            self._bar.update(done, total)

    def _refuse_unreachable(self, limits: GoalLimits) -> None:
        """Says so before anything is trained, where no share is fast or small enough."""
        if limits.latency_ms is None and limits.size_bytes is None:
            return
        if self.scanned.shares(limits) or self.scanned.shorter(limits):
            return
        asked = replace(limits, accuracy=None)
        nearest = min(
            self.scanned.files,
            key=lambda one: asked.excess(
                Figures(latency_ms=one.latency_ms, size_bytes=one.size_bytes, accuracy=1.0)
            ),
        )
        first = self.scanned.original
        why = f" Channels cannot be cut: {self.scanned.problem}." if self.scanned.problem else ""
        raise UnreachableError(
            f"the goal ({self._goal.words}) cannot be reached by cutting channels, leaving out blocks and "
            f"int8: the nearest is {nearest.share:.4g} of the channels in {nearest.precision}, "
            f"{nearest.latency_ms:.4g} ms a call ({first.latency_ms / nearest.latency_ms:.3g} times as fast)"
            f", {nearest.size_bytes / 1e6:.4g} MB; as it is the model takes {first.latency_ms:.4g} ms and "
            f"{first.size_bytes / 1e6:.4g} MB.{why}"
        )


def _lost_too_much(record: StepRecord, *, by_size: bool, most: float = 1.0) -> bool:
    """Whether a step was undone for its accuracy that made the file smaller, where its size counts; otherwise
    faster, and to no more than a share ``most`` of its latency. Nothing else is worth a training."""
    if record.kept or record.accuracy_after is None or record.latency_ms_after is None:
        return False
    smaller = (record.size_bytes_after or 0) < record.size_bytes_before
    ratio = record.latency_ms_after / record.latency_ms_before
    return (
        smaller if by_size else ratio < 1 and ratio <= most
    ) and record.accuracy_after < record.accuracy_before
