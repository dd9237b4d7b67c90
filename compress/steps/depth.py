"""Depth: whole blocks are left out, those that save the most measured time for the least."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import nn

from compress.candidate import Candidate, Context
from compress.plain import faithful_copy
from compress.steps.registry import STEPS
from compress.steps.several import each
from compress.steps.shorter import WHOLE, damage_of, fast_enough, latencies_ms
from compress.swaps.blocks import Skippable, blocks_of, left_outs, without_blocks
from compress.swaps.depth import cheapest, learned_masks, rises

Speedup = Annotated[float, Field(gt=1)]
_TOGETHER = 4  # blocks whose masks are learned as one choice


@STEPS.register("depth")
@dataclass(frozen=True, slots=True, kw_only=True)
class Shorten:
    """Whole blocks left out, then fine-tuning; kept if the file is faster and accurate enough.

    Every block that keeps the shape of what it reads is measured: the file without it, and the loss without
    it. Which of them go is an exact choice under the time to be saved.

    Attributes:
        speedup: Speed-up to reach, above 1, or several, each of which is tried at the price of a fine-tuning;
            a candidate that is not quite as fast says so.
        choice: Way to choose: by the ``measured`` loss without each block alone, or ``learned`` masks,
            trained together with the weights.
        steps: Optimizer steps of learned masks.
        learning_rate: Learning rate of learned masks.
        epochs: Epochs to train afterwards; those of the recovery training where none are given.
        ignore: Names of blocks, or of modules that hold them, that stay.
    """

    for_speed: ClassVar[bool] = True
    speedup: Speedup | Annotated[tuple[Speedup, ...], Field(min_length=1)] = 1.25
    choice: Literal["measured", "learned"] = "measured"
    steps: Annotated[int, Field(ge=1)] = 100
    learning_rate: Annotated[float, Field(gt=0)] = 0.05
    epochs: Annotated[int, Field(ge=1)] | None = None
    ignore: tuple[str, ...] = ()

    def propose(self, current: Candidate, context: Context, folder: Path) -> list[Candidate]:
        """A candidate for each speed-up.

        Raises:
            ValueError: no block can be left out, or all of them save too little.
        """
        network = faithful_copy(current.network).eval()
        blocks = blocks_of(network, context.example, ignore=self.ignore)
        if not blocks:
            raise ValueError(
                "no block can be left out: none of several layers is called once, on one tensor, and keeps "
                "its shape"
            )
        whole_ms, saved = _saved(network, blocks, context, folder)
        goals = self.speedup if isinstance(self.speedup, tuple) else (self.speedup,)
        made: list[tuple[str, ...]] = []

        def of(goal: float) -> Candidate | None:
            names, reached = self._chosen(network, blocks, whole_ms, saved, goal, context, folder)
            if names in made:
                return None
            made.append(names)
            shorter = without_blocks(network, names)
            shorter = context.finetune(shorter, seed=context.seed, epochs=self.epochs)
            file = context.file(folder, f"speedup_{goal:g}")
            label = f"without {', '.join(names)}"
            if reached < goal:
                label += f", {reached:.3g} times as fast of the {goal:.4g} times asked for"
            return context.exported(current, shorter, file, swaps=left_outs(names), label=label)

        return each({f"{goal:.4g} times as fast": partial(of, goal) for goal in goals})

    def _chosen(
        self,
        network: nn.Module,
        blocks: Sequence[Skippable],
        whole_ms: float,
        saved: Sequence[float],
        goal: float,
        context: Context,
        folder: Path,
    ) -> tuple[tuple[str, ...], float]:
        """Names of the blocks that go, and how many times as fast the file without them is."""
        names = [block.name for block in blocks]
        chosen: Callable[[float], tuple[str, ...]] | None = None

        def choose(needed: float) -> tuple[str, ...]:
            nonlocal chosen
            if needed > sum(saved):
                most = whole_ms / max(whole_ms - sum(saved), 1e-9)
                raise ValueError(
                    f"leaving out all {len(blocks)} blocks that can go makes it about {most:.3g} times as "
                    f"fast, not {goal:.4g} times"
                )
            chosen = chosen or self._chooser(network, names, saved, needed, context)
            return chosen(needed)

        return fast_enough(choose, partial(without_blocks, network), goal, whole_ms, context, folder)

    def _chooser(
        self, network: nn.Module, names: list[str], saved: Sequence[float], needed: float, context: Context
    ) -> Callable[[float], tuple[str, ...]]:
        """A choice of blocks for a time to be saved; masks are learned once, for the time needed first."""
        size = 1 if self.choice == "measured" else _TOGETHER
        groups = [names[start : start + size] for start in range(0, len(names), size)]
        times = [
            [
                sum(saved[names.index(name)] for place, name in enumerate(group) if mask >> place & 1)
                for mask in range(2 ** len(group))
            ]
            for group in groups
        ]
        if self.choice == "measured":
            losses = [
                [0.0, rise] for rise in rises(network, names, partial(damage_of(network, context), network))
            ]
        elif context.loss is None:
            raise ValueError("learned masks ask for the loss of networks, and there is none")
        else:
            logs = learned_masks(
                network,
                groups,
                context.loss,
                times,
                needed,
                steps=self.steps,
                learning_rate=self.learning_rate,
                seed=context.seed,
            )
            losses = [[-log for log in each] for each in logs]

        def chosen(time: float) -> tuple[str, ...]:
            return tuple(
                name
                for group, mask in zip(groups, cheapest(losses, times, time), strict=True)
                for place, name in enumerate(group)
                if mask >> place & 1
            )

        return chosen


def _saved(
    network: nn.Module, blocks: Sequence[Skippable], context: Context, folder: Path
) -> tuple[float, list[float]]:
    """Latency of the whole network in milliseconds, and what each block takes of it, measured once a kind."""
    kinds = {block.alike: block.name for block in blocks}
    files = [context.file(folder, WHOLE)]
    context.export(network, files[0])
    for number, name in enumerate(kinds.values()):
        files.append(context.file(folder, f"without_{number}"))
        context.export(without_blocks(network, [name]), files[-1])
    whole, *others = latencies_ms(context, files)
    times = {alike: max(0.0, whole - other) for alike, other in zip(kinds, others, strict=True)}
    return whole, [times[block.alike] for block in blocks]
