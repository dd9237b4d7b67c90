"""How long a model takes, where its time goes, and what a reader should make of it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from torch import nn

from compress.plain import faithful_copy
from compress.target import OperatorTime, TakesOnnx, Target, TellsMemory
from nas.costs.counts.analytic import count
from results.timing import Memory, Timing
from runners.given import load_network
from runners.targets.hardware import HardwareProfile
from runners.targets.target import open_target

LAYOUT = ("ReorderInput", "ReorderOutput", "Transpose")
CONVERSIONS = ("QuantizeLinear", "DequantizeLinear", "Cast")
PRODUCTS = ("Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "QLinearConv", "QGemm")


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyReport:
    """What ``quarry latency`` says.

    Attributes:
        timing: latency of the model.
        operators: time by type, longest first; timing them adds time of its own, so read the shares.
        remarks: what to make of it, one sentence each.
        computed: whether the latency was computed from constants and not measured.
        memory: memory that it takes in a process of its own; None where the runtime or system does not tell.
        predicted_bytes: what it should take in float32: its weights, and the values that have to be there at
            once; None where the model is a file.
    """

    timing: Timing
    operators: tuple[OperatorTime, ...]
    remarks: tuple[str, ...]
    computed: bool
    memory: Memory | None
    predicted_bytes: int | None


def load_model(spec: str) -> Path | nn.Module:
    """An ONNX file by path, or a network by ``module:function``.

    Args:
        spec: ``path.onnx``, or what ``load_network`` takes.

    Raises:
        FileNotFoundError: no such file.
        ValueError: as ``load_network``; neither of both.
    """
    if spec.endswith(".onnx"):
        if not Path(spec).is_file():
            raise FileNotFoundError(f"there is no model at {spec}")
        return Path(spec)
    if ":" not in spec:
        raise ValueError(f"{spec!r} is neither a path that ends in .onnx nor module:function")
    if "" not in sys.path:
        sys.path.insert(0, "")  # as `python -c` does: modules of the folder one stands in are found
    return load_network(spec)


def analyse(
    model: Path | nn.Module,
    profile: HardwareProfile,
    *,
    input_shape: tuple[int, ...] | None = None,
    seconds: float = 3.0,
) -> LatencyReport:
    """Measures a model and takes its time apart by operator, where the runtime tells.

    Args:
        model: an ONNX file, or a network, which is exported as the profile deploys.
        profile: hardware profile of any runtime; ONNX files take one that runs them.
        input_shape: shape without the batch, for a network, or for a file that leaves it open.
        seconds: seconds of measuring.

    Raises:
        ValueError: no input shape where one is needed, an ONNX file for another runtime, or a model that does
            not run; the message has the runtime's words.
    """
    target = open_target(profile)
    facts = target.facts
    with tempfile.TemporaryDirectory(prefix="quarry-") as folder:
        path = Path(folder) / f"model.{facts.format}"
        if isinstance(model, nn.Module):
            if input_shape is None:
                raise ValueError("a network needs its input shape, for instance --input 3x224x224")
            target.export(model, input_shape, path, precision=facts.float_precision)
        elif isinstance(target, TakesOnnx):
            given = Path(folder) / "given.onnx"
            given.write_bytes(with_shape(model, input_shape, profile.batch))
            target.take_onnx(given, path, precision=facts.float_precision)
        elif facts.format == "onnx":
            path.write_bytes(with_shape(model, input_shape, profile.batch))
        else:
            raise ValueError(
                f"profile {profile.name!r} times {profile.runtime.kind} programs, not ONNX files; give it a "
                "network as module:function, or choose a profile of ONNX Runtime such as cpu-ort"
            )
        (timing,) = target.measure([path], budget_s=seconds, half_width=0.005)
        if timing.status != "measured":
            raise ValueError(f"the model does not run on profile {profile.name!r}: {timing.reason}")
        memory, unmeasured = _memory(target, path)
        operators: tuple[OperatorTime, ...] = ()
        try:
            operators, words = target.operator_times(path), ""
        except ValueError as error:
            words = str(error)
    if facts.computed:
        words = "this is computed from the profile's constants; nothing was measured"
    remarks = [words] if words else _remarks(timing, operators)
    predicted_bytes = None
    if isinstance(model, nn.Module) and input_shape is not None:
        known = count(faithful_copy(model).cpu().float(), input_shape)  # as it was exported
        predicted_bytes = 4 * known.params + profile.batch * known.peak_memory_bytes
    return LatencyReport(
        timing=timing,
        operators=operators,
        remarks=(*remarks, *unmeasured),
        computed=facts.computed,
        memory=memory,
        predicted_bytes=predicted_bytes,
    )


def _memory(target: Target, file: Path) -> tuple[Memory | None, list[str]]:
    """Memory that a file takes; None, and why, where that is not told."""
    if not isinstance(target, TellsMemory):
        return None, []
    try:
        return target.memory(file), []
    except ValueError as error:
        return None, [f"its memory was not measured: {error}"]


def with_shape(model: Path, input_shape: tuple[int, ...] | None, batch: int | None) -> bytes:
    """Content of the file, weights inside, the sizes that its inputs leave open set: the first is the batch.

    A batch of None leaves that one open.

    Raises:
        FileNotFoundError: weights that lie in another file are not there.
        ValueError: open sizes and no shape, or one of another length.
    """
    content = model.read_bytes()
    try:
        found = onnx.load_from_string(content)
    except Exception:  # the runtime says what is wrong with it, in its words
        return content
    if beside := _files_beside(found):
        if missing := [name for name in beside if not (model.parent / name).is_file()]:
            raise FileNotFoundError(
                f"{model} keeps weights in {', '.join(missing)}, which is not beside it; copy both"
            )
        onnx.load_external_data_for_model(found, str(model.parent))  # the copy is timed in another folder
        content = found.SerializeToString()
    weights = {tensor.name for tensor in found.graph.initializer}
    for given in found.graph.input:
        axes = given.type.tensor_type.shape.dim
        wide = [axis.dim_param or "?" for axis in axes[1:] if axis.dim_value <= 0]
        if given.name in weights or not wide:
            continue
        if input_shape is None or len(input_shape) != len(axes) - 1:
            raise ValueError(
                f"{model} leaves the sizes {', '.join(wide)} of input {given.name!r} open; give all "
                f"{len(axes) - 1} behind the batch with --input, for instance --input 3x224x224"
            )
        for axis, size in zip(axes, (batch, *input_shape), strict=True):
            if axis.dim_value <= 0 and size is not None:
                axis.dim_value = size
        content = found.SerializeToString()
    return content


def _files_beside(model: onnx.ModelProto) -> list[str]:
    """The files, seen from the model's folder, in which some of its weights lie."""
    entries = (entry for tensor in model.graph.initializer for entry in tensor.external_data)
    return sorted({entry.value for entry in entries if entry.key == "location"})


def _remarks(timing: Timing, operators: Sequence[OperatorTime]) -> list[str]:
    total = sum(entry.latency_ms for entry in operators)
    spread = (timing.high_ms - timing.low_ms) / timing.median_ms
    remarks = [f"differences under {max(spread, 0.01):.1%} between this and another model mean nothing here"]
    if spread > 0.05:
        remarks.append("the machine was busy; measure again when it is quiet before comparing")
    if not total:
        return remarks
    shares = {
        "arithmetic (convolutions and products)": (PRODUCTS, 0.0, ""),
        "moving data between layouts": (
            LAYOUT,
            0.1,
            "operators that only take the plain layout stand between convolutions that prefer another",
        ),
        "converting between float and int8": (
            CONVERSIONS,
            0.1,
            "operators that stay float stand between quantized ones",
        ),
    }
    for what, (names, least, why) in shares.items():
        share = sum(entry.latency_ms for entry in operators if entry.operator in names) / total
        if share > least:
            remarks.append(f"{share:.0%} of the time is {what}" + (f": {why}" if why else ""))
    nodes = sum(entry.nodes for entry in operators)
    if timing.median_ms / nodes < 0.01:
        remarks.append(
            f"{nodes} operators of {1e3 * timing.median_ms / nodes:.1f} us each: starting them is much of "
            "the time; fewer, larger layers would be faster for the same arithmetic"
        )
    return remarks
