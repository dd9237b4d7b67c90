"""The latency staircase: which channel counts cost no more than smaller ones, and so are worth choosing."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from compress.pruning.allocation.layers import LayerTimes, SizedLayer
from results.timing import Timing

Export = Callable[[nn.Module, tuple[int, ...], Path], None]
"""Writes a layer with an input shape, without the batch, to a file of the device."""


TimeFiles = Callable[..., list[Timing]]
"""Takes files and ``budget_s``, seconds for all of them; gives their latencies, measured side by side."""

_CANDIDATES, _FINEST = 32, 4
_NOISE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Staircase:
    """Latency against channel count.

    Attributes:
        channels: ascending.
        latency_ms: milliseconds of each.
        steps: the counts worth choosing: no larger count costs less or, within the tolerance, the same.
        multiple: the largest common divisor of the steps that is a power of two, what pruning rounds to.
    """

    channels: tuple[int, ...]
    latency_ms: tuple[float, ...]
    steps: tuple[int, ...]
    multiple: int


def find_steps(channels: Sequence[int], latency_ms: Sequence[float], *, tolerance: float) -> tuple[int, ...]:
    """The last channel count of every stair.

    Args:
        channels: ascending.
        latency_ms: milliseconds of each.
        tolerance: relative difference that the device's noise makes; less is not a step.

    Raises:
        ValueError: lengths that differ, or channels that do not ascend.
    """
    if len(channels) != len(latency_ms) or list(channels) != sorted(set(channels)):
        raise ValueError("a staircase needs ascending channel counts and one latency for each")
    steps: list[int] = []
    cheapest_beyond = float("inf")
    for count, latency in zip(reversed(channels), reversed(latency_ms), strict=True):
        if latency * (1 + tolerance) < cheapest_beyond:
            steps.append(count)
        cheapest_beyond = min(cheapest_beyond, latency)
    return tuple(reversed(steps))


def measure_staircase(
    make: Callable[[int], nn.Module],
    input_shape: Callable[[int], tuple[int, ...]],
    channels: Sequence[int],
    *,
    export: Export,
    measure: TimeFiles,
    tolerance: float = 0.02,
    seconds_each: float = 0.3,
) -> Staircase:
    """Measures a layer at many channel counts side by side and finds the steps.

    Args:
        make: the layer at a channel count.
        input_shape: its input, without the batch.
        channels: ascending, two or more.
        export: exporter of the device.
        measure: stopwatch of the device.
        tolerance: relative difference that is noise.
        seconds_each: time budget of each.

    Raises:
        ValueError: fewer than two counts, or the device cannot run the layer at one of them.
    """
    if len(channels) < 2:
        raise ValueError(f"a staircase needs at least 2 channel counts, got {list(channels)}")
    with tempfile.TemporaryDirectory(prefix="quarry-") as folder:
        files = [Path(folder) / f"{count}.model" for count in channels]
        for count, file in zip(channels, files, strict=True):
            export(make(count), input_shape(count), file)
        readings = measure(files, budget_s=seconds_each * len(files))
    for count, reading in zip(channels, readings, strict=True):
        if reading.status != "measured":
            raise ValueError(f"{count} channels did not run: {reading.reason}")
    latencies = tuple(reading.median_ms for reading in readings)
    steps = find_steps(channels, latencies, tolerance=tolerance)
    multiple = 1
    while all(step % (2 * multiple) == 0 for step in steps):
        multiple *= 2
    return Staircase(channels=tuple(channels), latency_ms=latencies, steps=steps, multiple=multiple)


def stairs_of(layer: SizedLayer, times: LayerTimes) -> tuple[int, ...]:
    """The output channels of a layer that end a stair of its own latency, ascending; its own are the last.

    Up to 32 counts below its own are measured, all multiples of 4.

    Args:
        layer: Layer at its whole width.
        times: Stopwatch for layers on the target.

    Raises:
        ValueError: the target does not run the layer at one of the widths.
    """
    step = _FINEST * max(1, round(layer.outputs / (_CANDIDATES * _FINEST)))
    counts = [*range(step, layer.outputs, step), layer.outputs]
    latencies = times([layer.with_outputs(count) for count in counts])
    steps = find_steps(counts, latencies, tolerance=_NOISE)
    return steps if steps[-1:] == (layer.outputs,) else (*steps, layer.outputs)
