"""``quarry why A B``: two files or networks beside each other, operator by operator."""

from __future__ import annotations

import tempfile
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from torch import nn

from compress.onnx.differences import FileDifference, difference, table
from compress.onnx.times import NodeTime, node_times
from compress.pruning.prune import COUNTS
from compress.target import Target
from results.timing import Timing
from runners.measuring.stopwatch import example_inputs, words_of
from runners.tables.analysis import load_model, with_shape
from runners.targets.hardware import HardwareProfile
from runners.targets.profile import load_profile
from runners.targets.target import open_target

Say = Callable[[str], None]
_WIDTH = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyReport:
    """What ``quarry why`` says.

    Attributes:
        before: latency of the first file.
        after: latency of the second, measured in turns with the first.
        found: operators of both, and what would help.
    """

    before: Timing
    after: Timing
    found: FileDifference


def why(
    before: str,
    after: str,
    *,
    profile: str = "cpu-ort",
    input_shape: tuple[int, ...] | None = None,
    channel_step: int = COUNTS,
    rows: int = 16,
    seconds: float = 3.0,
    say: Say = print,
) -> WhyReport:
    """Measures two models in turns and says, operator by operator, what changed and what it cost.

    Args:
        before: ``path.onnx`` or ``module:function``; of any origin.
        after: the one that is asked about.
        profile: profile of ONNX Runtime on this machine, by name or path.
        input_shape: shape without the batch, for networks and files that leave it open.
        channel_step: number whose multiples are the channel counts that the device runs at full speed, as
            ``quarry table staircase`` finds it.
        rows: operators to list.
        seconds: seconds to measure for.
        say: takes each line.

    Raises:
        ValueError: a model that cannot be read or run, two of different inputs, another runtime.
        FileNotFoundError: no such file.
    """
    hardware = load_profile(profile)
    target = open_target(hardware)
    if target.facts.runtime != "onnxruntime" or not target.facts.local:  # it is ONNX Runtime that profiles
        raise ValueError(
            f"profile {hardware.name!r} times no single operators on this machine; choose one of ONNX "
            "Runtime, such as cpu-ort"
        )
    if channel_step < 1 or rows < 1 or not 0 < seconds < float("inf"):
        raise ValueError("the channel step, the rows and the seconds have to be above 0")
    with tempfile.TemporaryDirectory(prefix="quarry-") as folder:
        files = [Path(folder) / name for name in ("before.onnx", "after.onnx")]
        for spec, file in zip((before, after), files, strict=True):
            _place(spec, file, target, hardware, input_shape)
        inputs = [
            _inputs(file, spec, hardware.batch) for file, spec in zip(files, (before, after), strict=True)
        ]
        shapes = [sorted(array.shape for array in arrays.values()) for arrays in inputs]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"{before} takes inputs of {_shapes(shapes[0])}, {after} of {_shapes(shapes[1])}: their "
                "times say nothing of each other; give both one shape with --input, or export them for one"
            )
        timings = target.measure(files, budget_s=seconds)
        for spec, timing in zip((before, after), timings, strict=True):
            if timing.status != "measured":
                raise ValueError(f"{spec} does not run on profile {hardware.name!r}: {timing.reason}")
        nodes: list[tuple[NodeTime, ...]] = [
            node_times(file, arrays, runs=60, budget_s=seconds / 2, threads=target.facts.threads)
            for file, arrays in zip(files, inputs, strict=True)
        ]
        model = onnx.load(str(files[1]), load_external_data=False)
    report = WhyReport(
        before=timings[0],
        after=timings[1],
        found=difference(
            nodes[0],
            nodes[1],
            model,
            channel_step=channel_step,
            faster=timings[0].median_ms / timings[1].median_ms,
        ),
    )
    _tell(report, rows, say)
    return report


def _tell(report: WhyReport, rows: int, say: Say) -> None:
    before, after = report.before, report.after
    ratio = before.median_ms / after.median_ms
    words = f"{ratio:.2f} times as fast"
    if before.low_ms <= after.high_ms and after.low_ms <= before.high_ms:
        words = "no difference beyond noise"
    elif ratio < 1:
        words = f"{1 / ratio:.2f} times slower"
    say(f"{before.median_ms:.4g} ms before, {after.median_ms:.4g} ms after: {words}")
    say("")
    table(report.found, say, rows=rows, width=_WIDTH)
    say("")
    for remark in report.found.remarks or ("nothing stands out: the time is in the arithmetic",):
        for line in textwrap.wrap(f"- {remark}", _WIDTH, subsequent_indent="  "):
            say(line)


def _place(
    spec: str, file: Path, target: Target, hardware: HardwareProfile, input_shape: tuple[int, ...] | None
) -> None:
    """Puts the model that a text names into a file of its own, its open sizes set."""
    model = load_model(spec)
    if isinstance(model, nn.Module):
        if input_shape is None:
            raise ValueError("a network needs its input shape, for instance --input 3x224x224")
        target.export(model, input_shape, file)
        return
    try:
        onnx.load(str(model), load_external_data=False)
    except Exception as error:  # protobuf has errors of its own
        size = model.stat().st_size
        raise ValueError(f"{model} ({size} bytes) is no whole ONNX file: {words_of(error)}") from error
    file.write_bytes(with_shape(model, input_shape, hardware.batch))


def _inputs(file: Path, spec: str, batch: int) -> dict[str, NDArray[Any]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's exception classes share no base but Exception
        raise ValueError(f"{spec} cannot be loaded by ONNX Runtime: {words_of(error)}") from error
    return example_inputs(session, batch)


def _shapes(shapes: list[tuple[int, ...]]) -> str:
    return " and ".join("x".join(map(str, shape)) for shape in shapes) or "nothing"
