"""A device that nothing is measured on: the latency of a file follows from its graph and a few constants.

The roofline of ``nas.costs.roofline``, node by node over the exported file, so that compressed and
quantized files are told apart as well as archs are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import ModelProto, NodeProto, shape_inference
from torch import nn

from results.records import COMPUTED
from runners.measuring.stopwatch import Timing, not_measured
from runners.targets.onnx_format import onnx_bytes
from runners.targets.profile import HardwareProfile
from runners.targets.target import Identity

_PRODUCTS = ("Conv", "Gemm", "MatMul", "ConvTranspose")
# Part of the operator before them in a deployed int8 or float kernel, or no work at all.
_FREE = ("QuantizeLinear", "DequantizeLinear", "Relu", "Clip", "Identity", "Reshape", "Flatten", "Constant")
_INT8 = "int8"  # marks a float graph that stands for its int8 version
_VALUE_BYTES = {"int8": 1, "fp32": 4}


class AnalyticDevice:
    """Computes what the other devices measure; the constants are those of the profile's ``[machine]``.

    The constants hold for the first of the profile's precisions. Values of four bytes where that is int8
    take four times as long, in arithmetic and in traffic.
    """

    def __init__(self, profile: HardwareProfile) -> None:
        self.profile = profile

    def identity(self) -> Identity:
        """The constants stand in the place of runtime and machine: other constants make a table stale."""
        machine = self.profile.machine
        return Identity(
            runtime=COMPUTED,
            runtime_version="1",
            threads=1,
            machine=f"{machine.macs_per_s:g} MAC/s, {machine.bytes_per_s:g} B/s, "
            f"{machine.layer_overhead_ms:g} ms a layer",
        )

    def export(self, module: nn.Module, input_shape: tuple[int, ...], precision: str = "fp32") -> bytes:
        """The module as ONNX; for int8 marked as such, since only its graph is read."""
        content = onnx_bytes(
            module,
            input_shape,
            batch=self.profile.batch,
            unsupported_operators=self.profile.unsupported_operators,
        )
        if precision == "fp32":
            return content
        model = onnx.load_from_string(content)
        model.metadata_props.add(key="precision", value=_INT8)
        return model.SerializeToString()

    def measure(
        self, models: Sequence[bytes | Path], *, budget_s: float = 0.0, precision: float = 0.0
    ) -> list[Timing]:
        """The computed latency of each file; a file that cannot be read is ``unsupported``."""
        del budget_s, precision  # nothing is repeated
        return [self._timing(model) for model in models]

    def _timing(self, content: bytes | Path) -> Timing:
        try:
            model = onnx.load_from_string(content) if isinstance(content, bytes) else onnx.load(content)
            if not model.graph.node:
                raise ValueError("this is no ONNX file, or one without operators")
            latency_ms = self._latency_ms(shape_inference.infer_shapes(model, data_prop=True))
        except Exception as error:  # whatever reading a foreign file raises is its status
            return not_measured("unsupported", str(error).strip().splitlines()[0])
        return Timing(median_ms=latency_ms, low_ms=latency_ms, high_ms=latency_ms, repeats=1)

    def _latency_ms(self, model: ModelProto) -> float:
        sizes = _sizes(model, self.profile.batch)
        int8 = any(entry.value == _INT8 for entry in model.metadata_props) or any(
            node.op_type == "QuantizeLinear" for node in model.graph.node
        )
        value_bytes = _VALUE_BYTES["int8" if int8 else "fp32"]
        slower = max(1.0, value_bytes / _VALUE_BYTES[self.profile.precisions[0]])
        machine, total_ms = self.profile.machine, 0.0
        assert machine.macs_per_s is not None  # the profile was checked
        assert machine.bytes_per_s is not None
        for node in model.graph.node:
            if node.op_type in _FREE:
                continue
            moved = sum(math.prod(sizes.get(name, ())) for name in (*node.input, *node.output) if name)
            seconds = max(
                slower * _macs(node, sizes) / machine.macs_per_s,
                value_bytes * moved / machine.bytes_per_s,
            )
            total_ms += 1e3 * seconds + machine.layer_overhead_ms
        return max(total_ms, 1e-6)  # a layer that is only views takes next to nothing, not nothing


Sizes = dict[str, tuple[int, ...]]


def _sizes(model: ModelProto, batch: int) -> Sizes:
    """Shapes by the tensor's name; an unknown dimension is the batch."""
    graph = model.graph
    sizes = {
        value.name: tuple(axis.dim_value or batch for axis in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    return sizes | {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}


def _macs(node: NodeProto, sizes: Sizes) -> float:
    """Multiply-accumulates of a convolution or product; other operators have none.

    Raises:
        ValueError: the shape inference found no shapes for it.
    """
    if node.op_type not in _PRODUCTS:
        return 0.0
    for name in (*node.input[:2], node.output[0]):
        if name not in sizes:
            raise ValueError(f"the shapes around {node.op_type} {node.name} are not known")
    first, second, output = (sizes[name] for name in (node.input[0], node.input[1], node.output[0]))
    if node.op_type == "Conv":
        return math.prod(output) * math.prod(second[1:])
    if node.op_type == "ConvTranspose":
        return math.prod(first) * math.prod(second[1:])
    inner = first[-1]
    if node.op_type == "Gemm" and any(entry.name == "transA" and entry.i for entry in node.attribute):
        inner = first[0]
    return math.prod(output) * inner
