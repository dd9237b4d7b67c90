"""Merging: convolutions in a row become one where that saves measured time, without what lay between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import nn

from compress.candidate import Candidate, Context
from compress.plain import plain_copy
from compress.steps.registry import STEPS
from compress.steps.several import each
from compress.steps.shorter import WHOLE, damage_of, fast_enough, latencies_ms
from compress.swaps.merging import Series, merged, series_of, with_merged
from compress.swaps.paths import LayerSpan, cheapest_spans

Speedup = Annotated[float, Field(gt=1)]


@STEPS.register("merge")
@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """Convolutions in a row as one, without the activations between, then fine-tuning; kept if that pays.

    Every two or more in a row are measured: the file in which they are one, and the loss of that network.
    Which become one is an exact choice under the time to be saved. An inverted residual (1x1, depthwise, 1x1)
    becomes one 3x3; two 3x3 become a 5x5, which rarely is faster.

    Attributes:
        speedup: Speed-up to reach, above 1, or several, each of which is tried at the price of a fine-tuning;
            a candidate that is not quite as fast says so.
        largest: Side of the largest kernel that may come of it.
        epochs: Epochs to train afterwards; those of the recovery training where none are given.
        ignore: Names of convolutions, or of modules that hold them, that stay.
    """

    for_speed: ClassVar[bool] = True
    speedup: Speedup | Annotated[tuple[Speedup, ...], Field(min_length=1)] = 1.25
    largest: Annotated[int, Field(ge=1)] = 7
    epochs: Annotated[int, Field(ge=1)] | None = None
    ignore: tuple[str, ...] = ()

    def propose(self, current: Candidate, context: Context, folder: Path) -> list[Candidate]:
        """A candidate for each speed-up.

        Raises:
            ValueError: no convolutions can become one, or that saves too little.
        """
        network = plain_copy(current.network).eval()
        every = series_of(network, ignore=self.ignore)
        if not every:
            raise ValueError(
                "no convolutions can become one: none reads what another gives through nothing but norms and "
                "activations that are modules"
            )
        segments = self._segments(network, every)
        whole_ms, spans = _spans(network, every, segments, context, folder)
        goals = self.speedup if isinstance(self.speedup, tuple) else (self.speedup,)
        made: list[list[int]] = []

        def of(goal: float) -> Candidate | None:
            chosen, reached = _chosen(network, segments, spans, whole_ms, goal, context, folder)
            if chosen in made:
                return None
            made.append(chosen)
            shorter, exchanges = with_merged(network, [segments[number] for number in chosen])
            shorter = context.finetune(shorter, seed=context.seed, epochs=self.epochs)
            told = [_words(*segments[number]) for number in chosen]
            label = f"{', '.join(told)} as one each"
            if reached < goal:
                label += f", {reached:.3g} times as fast of the {goal:.4g} times asked for"
            file = context.file(folder, f"speedup_{goal:g}")
            return context.exported(current, shorter, file, swaps=exchanges, label=label)

        return each({f"{goal:.4g} times as fast": partial(of, goal) for goal in goals})

    def _segments(self, network: nn.Module, every: Sequence[Series]) -> list[tuple[Series, int, int]]:
        """All that could become one, in order."""
        found = [
            (series, begin, end)
            for series in every
            for begin in range(len(series.convolutions))
            for end in range(begin + 2, len(series.convolutions) + 1)
            if max(merged(network, series, begin, end)[0].kernel_size) <= self.largest
        ]
        if not found:
            raise ValueError(f"all that could become one would have a kernel of more than {self.largest}")
        return found


def _words(series: Series, begin: int, end: int) -> str:
    return f"{series.convolutions[begin]} to {series.convolutions[end - 1]}"


def _spans(
    network: nn.Module,
    every: Sequence[Series],
    segments: Sequence[tuple[Series, int, int]],
    context: Context,
    folder: Path,
) -> tuple[float, list[LayerSpan]]:
    """Latency of the network in milliseconds, and what each segment loses and saves; single layers last."""
    first, layers = {}, 0
    for series in every:
        first[series.convolutions] = layers
        layers += len(series.convolutions)
    files = [context.file(folder, WHOLE)]
    context.export(network, files[0])
    damage = damage_of(network, context)
    losses = []
    with torch.no_grad():
        before = damage(network)
        for number, segment in enumerate(segments):
            shorter = with_merged(network, [segment])[0].eval()
            losses.append(max(0.0, damage(shorter) - before))
            files.append(context.file(folder, f"merged_{number}"))
            context.export(shorter, files[-1])
    whole_ms, *others = latencies_ms(context, files)
    spans = [
        LayerSpan(
            begin=first[series.convolutions] + begin,
            end=first[series.convolutions] + end,
            loss=loss,
            saved=max(0.0, whole_ms - other),
        )
        for (series, begin, end), loss, other in zip(segments, losses, others, strict=True)
    ]
    return whole_ms, [
        *spans,
        *(LayerSpan(begin=at, end=at + 1, loss=0.0, saved=0.0) for at in range(layers)),
    ]


def _chosen(
    network: nn.Module,
    segments: Sequence[tuple[Series, int, int]],
    spans: Sequence[LayerSpan],
    whole_ms: float,
    goal: float,
    context: Context,
    folder: Path,
) -> tuple[list[int], float]:
    """Numbers of the segments that become one, and how many times as fast the file is then."""
    layers = max(span.end for span in spans)

    def choose(needed: float) -> list[int]:
        try:
            return [number for number in cheapest_spans(spans, layers, needed) if number < len(segments)]
        except ValueError as error:
            raise ValueError(
                f"{goal:.4g} times as fast takes {needed:.4g} ms less, and merging saves too little: {error}"
            ) from error

    def without(chosen: list[int]) -> nn.Module:
        return with_merged(network, [segments[number] for number in chosen])[0]

    return fast_enough(choose, without, goal, whole_ms, context, folder)
