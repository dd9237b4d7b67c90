"""Shorter networks: what they lose, how long they take, and how much has to go for a speed-up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from compress.candidate import Context
from compress.pruning.criteria.effects import outputs_of

WHOLE = "whole"
"""Name of the file of the network that is made shorter."""
_TRIES = 3

_Gone = TypeVar("_Gone", bound=Sequence[object])


def fast_enough(
    choose: Callable[[float], _Gone],
    without: Callable[[_Gone], nn.Module],
    goal: float,
    whole_ms: float,
    context: Context,
    folder: Path,
) -> tuple[_Gone, float]:
    """What goes, and how many times as fast the file without it is.

    More goes where it is not as fast as the sums said, for a few tries, of which the fastest is taken.

    Args:
        choose: What goes, for milliseconds to be saved; a ValueError says that there is not that much.
        without: Network without it.
        goal: Speed-up to reach.
        whole_ms: Latency of the whole network, whose file is ``WHOLE``.
        context: What steps are given.
        folder: Folder of the step's files.

    Raises:
        ValueError: there is nothing that saves so much, or a file does not run.
    """
    needed = whole_ms * (1 - 1 / goal)
    best, fastest = choose(needed), 0.0
    gone = best
    for _ in range(_TRIES):
        file = context.file(folder, "shorter")
        context.export(without(gone), file)
        whole, shorter = latencies_ms(context, [context.file(folder, WHOLE), file])
        if whole / shorter > fastest:
            best, fastest = gone, whole / shorter
        if fastest >= goal:
            break
        needed *= 1 + max(0.02, (shorter * goal - whole) / whole)
        try:
            gone = choose(needed)
        except ValueError:  # what there is says how fast it is
            break
    return best, fastest


def latencies_ms(context: Context, files: list[Path]) -> list[float]:
    """Latencies of files of shorter networks in milliseconds, measured side by side.

    Raises:
        ValueError: one does not run.
    """
    timings = context.target.measure(files, budget_s=context.seconds_each * len(files))
    for timing in timings:
        if timing.status != "measured":
            raise ValueError(f"a shorter network does not run: {timing.reason}")
    return [timing.median_ms for timing in timings]


def damage_of(network: nn.Module, context: Context) -> Callable[[nn.Module], float]:
    """What networks lose that are made of one: their loss, or the change of outputs on calibration images."""
    loss = context.loss
    if loss is not None:
        return lambda other: float(loss(other))
    images = torch.from_numpy(context.calibration)
    with torch.no_grad():
        whole = outputs_of(network, images)
    return lambda other: float((outputs_of(other, images) - whole).square().mean())
