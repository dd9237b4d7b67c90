"""Pruning: channels are cut, then the network is fine-tuned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from compress.candidate import Candidate, Context
from compress.pruning.allocation import AllocationSpec
from compress.pruning.allocation.layers import LayerTimes
from compress.pruning.channels import Cut, cut_channels
from compress.pruning.importance import CriterionSpec
from compress.pruning.prune import COUNTS, Prepared, Pruned, prepare
from compress.pruning.reach import cuts_for_speedup
from compress.steps.registry import STEPS
from compress.steps.several import each

Share = Annotated[float, Field(gt=0, lt=1)]
Speedup = Annotated[float, Field(gt=1)]
Count = Annotated[int, Field(ge=1)]
_LISTED = 3
_QUICKER = 3  # a share is looked for by shorter measurements than the step is judged by


@STEPS.register("prune")
@dataclass(frozen=True, slots=True, kw_only=True)
class Prune:
    """Cut of whole channels, then fine-tuning; kept if the file is faster and accurate enough.

    Attributes:
        keep: Share of the channels to keep, in (0, 1), or several, each of which is tried at the price of a
            fine-tuning.
        speedup: Speed-up to reach in the place of a share, above 1, or several; the share is found by
            measuring files, before anything is trained.
        counts: Channel counts that are allowed: multiples of this, one of these, or ``stairs`` for those that
            end a stair of the latency of the layer that makes the channels, as measured.
        importance: Criterion that ranks the channels, by name, or as a table of ``kind`` and its settings.
        allocation: Allocation of the cut to the layers, by name, or as a table of ``kind`` and its settings.
        rounds: Rounds in which the cut is made, with a training after each.
        epochs: Epochs to train after each round; those of the recovery training where none are given.
        ignore: Names of layers, or of modules that hold them, whose output channels stay.
    """

    for_speed: ClassVar[bool] = True
    keep: Share | Annotated[tuple[Share, ...], Field(min_length=1)] = 0.75
    speedup: Speedup | Annotated[tuple[Speedup, ...], Field(min_length=1)] | None = None
    counts: Count | Annotated[tuple[Count, ...], Field(min_length=1)] | Literal["stairs"] = COUNTS
    importance: CriterionSpec = "l2"
    allocation: AllocationSpec = "uniform"
    rounds: Annotated[int, Field(ge=1, le=20)] = 1
    epochs: Annotated[int, Field(ge=1)] | None = None
    ignore: tuple[str, ...] = ()

    def propose(self, current: Candidate, context: Context, folder: Path) -> list[Candidate]:
        """A candidate for each share to keep, or for each speed-up.

        Raises:
            ValueError: nothing can be cut, or every share fails: the criterion reads gradients and there is
                no loss, or the speed-up is out of reach.
        """
        if current.swaps:
            raise ValueError(
                "operators were exchanged, of which cuts know nothing; put prune before exchange"
            )
        refused: dict[str, str] = {}  # reasons by the group's leading layer
        made: list[tuple[Cut, ...]] = []
        times = LayerTimes(context.target)
        first = self._prepared(current.network, context, times)

        def of(goal: float, name: str, words: str) -> Candidate | None:
            network, prepared = current.network, first
            cuts: tuple[Cut, ...] = ()
            for number in range(1, self.rounds + 1):
                if number > 1:
                    prepared = self._prepared(network, context, times)
                found = self._cut(prepared, goal, number, current, context, folder)
                refused.update((group.root, group.reason) for group in found.refused)
                if not found.cuts:
                    continue
                cuts = (*cuts, *found.cuts)
                if number == self.rounds and cuts in made:
                    return None  # before it is trained
                network = context.finetune(found.network, seed=context.seed, epochs=self.epochs)
            if not cuts or cuts in made:
                return None
            candidate = context.exported(current, network, context.file(folder, name), cuts=cuts, label=words)
            made.append(cuts)
            return candidate

        goals = list(self._goals())
        candidates = each({words: partial(of, goal, name, words) for goal, name, words in goals})
        if not candidates:
            shares = " or ".join(f"{goal:.0%}" for goal, _, _ in goals)
            raise ValueError(
                f"no group of channels has a smaller allowed count (allowed: {self._allowed()}) near "
                f"{shares} of what it has{_left_alone(refused)}"
            )
        return candidates

    def _goals(self) -> Iterator[tuple[float, str, str]]:
        """Each share or speed-up with a name for its file and words for its candidate."""
        if self.speedup is not None:
            for ratio in self.speedup if isinstance(self.speedup, tuple) else (self.speedup,):
                yield ratio, f"speedup_{ratio:g}", f"{ratio:.4g} times as fast"
            return
        for share in self.keep if isinstance(self.keep, tuple) else (self.keep,):
            yield share, f"keep_{share:g}", f"{share:.0%} of the channels"

    def _prepared(self, network: nn.Module, context: Context, times: LayerTimes) -> Prepared:
        return prepare(
            network,
            context.example,
            counts=self.counts,
            importance=self.importance,
            allocation=self.allocation,
            loss=context.loss,
            images=torch.from_numpy(context.calibration),
            times=times,
            ignore=self.ignore,
            seed=context.seed,
        )

    def _cut(
        self,
        prepared: Prepared,
        goal: float,
        number: int,
        current: Candidate,
        context: Context,
        folder: Path,
    ) -> Pruned:
        """The cut of one round; each keeps the same share of what there is, or is as many times as fast."""
        if self.speedup is None:
            return prepared.pruned(prepared.cuts(goal ** (1 / self.rounds)))
        file = context.file(folder, "tried")

        def speedup(cuts: tuple[Cut, ...]) -> float:
            context.export(cut_channels(prepared.network, prepared.example, cuts), file)
            before, after = context.target.measure(
                [current.file, file], budget_s=2 * context.seconds_each / _QUICKER
            )
            if not before.status == after.status == "measured":
                raise ValueError(f"a file with fewer channels does not run: {after.reason or before.reason}")
            return before.median_ms / after.median_ms

        return prepared.pruned(cuts_for_speedup(prepared, goal ** (number / self.rounds), speedup))

    def _allowed(self) -> str:
        if self.counts == "stairs":
            return "ends of stairs of the latency"
        return f"multiples of {self.counts}" if isinstance(self.counts, int) else f"one of {self.counts}"


def _left_alone(refused: dict[str, str]) -> str:
    """The first groups that cannot be cut at all, with the reasons."""
    if not refused:
        return ""
    listed = "; ".join(f"{root}: {reason}" for root, reason in list(refused.items())[:_LISTED])
    return f"; {len(refused)} that cannot be cut ({listed})"
