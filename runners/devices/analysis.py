"""How long a model takes, where its time goes, and what a reader should make of it."""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from compress.profile import OperatorTime, operator_times
from runners.devices.onnx_device import OnnxDevice
from runners.devices.onnx_format import onnx_bytes
from runners.devices.profile import HardwareProfile
from runners.devices.stopwatch import Timing

LAYOUT = ("ReorderInput", "ReorderOutput", "Transpose")
CONVERSIONS = ("QuantizeLinear", "DequantizeLinear", "Cast")
PRODUCTS = ("Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "QLinearConv", "QGemm")


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyReport:
    """What ``quarry latency`` says.

    Attributes:
        timing: of the model.
        operators: time by type, longest first; profiling adds time of its own, so read the shares.
        remarks: what to make of it, one sentence each.
    """

    timing: Timing
    operators: tuple[OperatorTime, ...]
    remarks: tuple[str, ...]


def load_model(spec: str, input_shape: tuple[int, ...] | None) -> bytes | Path:
    """An ONNX file by path, or a network by ``module:function`` exported for timing.

    Args:
        spec: ``path.onnx``, or ``package.module:function`` of a function that returns an ``nn.Module``.
        input_shape: (C, H, W), needed for the second.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no such module or function, a function that gives no module, or no input shape.
    """
    if spec.endswith(".onnx"):
        if not Path(spec).exists():
            raise FileNotFoundError(f"there is no model at {spec}")
        return Path(spec)
    module_name, _, function_name = spec.partition(":")
    if not function_name:
        raise ValueError(f"{spec!r} is neither a path that ends in .onnx nor module:function")
    if input_shape is None:
        raise ValueError(f"{spec} needs its input shape, for instance --input 3x224x224")
    if "" not in sys.path:
        sys.path.insert(0, "")  # as `python -c` does: modules of the folder one stands in are found
    try:
        make: Any = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{spec} cannot be loaded: {error}") from error
    network = make()
    if not isinstance(network, nn.Module):
        raise ValueError(f"{spec} gave a {type(network).__name__}; it has to return an nn.Module")
    return onnx_bytes(network, input_shape)


def analyse(model: bytes | Path, profile: HardwareProfile, *, seconds: float = 3.0) -> LatencyReport:
    """Measures a model and takes its time apart by operator.

    Args:
        model: an ONNX file, or its content.
        profile: with the ONNX Runtime backend.
        seconds: of measuring.

    Raises:
        ValueError: another backend, or a model that does not run; the message has the runtime's words.
    """
    if profile.backend != "onnxruntime":
        raise ValueError(
            f"profile {profile.name!r} has backend {profile.backend!r}; time by operator is known for "
            "onnxruntime"
        )
    with tempfile.TemporaryDirectory(prefix="quarry-") as folder:
        path = model if isinstance(model, Path) else Path(folder) / "model.onnx"
        if isinstance(model, bytes):
            path.write_bytes(model)
        (timing,) = OnnxDevice(profile).measure([path], budget_s=seconds, precision=0.005)
        if timing.status != "measured":
            raise ValueError(f"the model does not run on profile {profile.name!r}: {timing.reason}")
        images = np.random.default_rng(0).standard_normal(_input_shape(path, profile.batch), dtype=np.float32)
        operators = operator_times(path, images, runs=30, threads=profile.threads)
    return LatencyReport(timing=timing, operators=operators, remarks=tuple(_remarks(timing, operators)))


def _input_shape(path: Path, batch: int) -> list[int]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    given = session.get_inputs()
    if len(given) != 1:
        names = ", ".join(entry.name for entry in given)
        raise ValueError(f"{path} takes {len(given)} inputs ({names}); models of one input are taken apart")
    return [size if isinstance(size, int) else batch for size in given[0].shape]


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
