"""A target that nothing is measured on: the latency of a file follows from its graph and a few constants.

Node by node over the exported file, so that compressed and quantized files are told apart as well as archs
are: what takes longer of arithmetic and of memory traffic (the roofline of Williams et al., "Roofline: an
insightful visual performance model", CACM 2009), plus the start of a layer.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, shape_inference
from pydantic import Field
from torch import nn

from compress.target import Facts, OperatorTime
from results.files import write_atomic
from results.timing import Timing, not_measured
from runners.targets.hardware import HardwareProfile, only_in
from runners.targets.onnx_format import FORMAT, export_for, marked, run_onnx
from runners.targets.registry import RUNTIMES

_PRODUCTS = ("Conv", "Gemm", "MatMul", "ConvTranspose")
# Part of the operator before them in a deployed int8 or float kernel, or no work at all.
_FREE = ("QuantizeLinear", "DequantizeLinear", "Relu", "Clip", "Identity", "Reshape", "Flatten", "Constant")
_INT8 = "int8"  # marks a float graph that stands for its int8 version
_VALUE_BYTES = {"int8": 1, "fp32": 4}


@RUNTIMES.register("analytic")
class AnalyticTarget:
    """Constants of a device in the place of measurements.

    They hold for the first of the profile's precisions. Values of four bytes where that is int8
    take four times as long, in arithmetic and in traffic.

    Args:
        profile: what is common to all runtimes.
        macs_per_s: multiply-accumulates a second at full speed.
        bytes_per_s: memory traffic in bytes a second.
        layer_overhead_ms: milliseconds that starting one layer takes.
    """

    def __init__(
        self,
        profile: HardwareProfile,
        *,
        macs_per_s: Annotated[float, Field(gt=0)],
        bytes_per_s: Annotated[float, Field(gt=0)],
        layer_overhead_ms: Annotated[float, Field(ge=0)] = 0.0,
    ) -> None:
        only_in(profile, tuple(_VALUE_BYTES))
        self._profile = profile
        self._macs_per_s, self._bytes_per_s = macs_per_s, bytes_per_s
        self._layer_overhead_ms = layer_overhead_ms
        # The constants stand in the place of the machine: other constants make a table stale.
        self.facts = Facts(
            profile=profile.name,
            runtime="roofline",
            runtime_version="1",
            threads=1,
            batch=profile.batch,
            machine=f"{macs_per_s:g} MAC/s, {bytes_per_s:g} B/s, {layer_overhead_ms:g} ms a layer",
            format=FORMAT,
            precisions=profile.precisions,
            local=False,
            computed=True,
        )

    def export(
        self, network: nn.Module, input_shape: tuple[int, ...], path: Path, *, precision: str = "fp32"
    ) -> None:
        """Writes an ONNX file; for int8 marked as such, since only its graph is read."""
        export_for(self._profile, network, input_shape, path, "fp32")
        if precision != "fp32":
            write_atomic(path, marked(path.read_bytes(), precision))

    def run(self, file: Path, images: NDArray[Any]) -> NDArray[Any]:
        """Outputs of a file in ONNX Runtime on this machine, which are the device's but for rounding."""
        return run_onnx(file, images)

    def measure(
        self, files: Sequence[Path], *, budget_s: float = 0.0, half_width: float = 0.0
    ) -> list[Timing]:
        """The computed latency of each file; a file that cannot be read is ``unsupported``."""
        del budget_s, half_width  # nothing is repeated
        return [self._timing(file) for file in files]

    def operator_times(self, file: Path, images: NDArray[Any] | None = None) -> tuple[OperatorTime, ...]:
        """Computed time by ONNX operator type; types that take none are left out."""
        del images
        nodes: defaultdict[str, list[float]] = defaultdict(list)
        try:
            found = self._nodes_ms(_inferred(file, self._profile.batch))
        except Exception as error:  # whatever reading a foreign file raises
            raise ValueError(f"{file} cannot be read as ONNX: {_words(error)}") from error
        for operator, latency_ms in found:
            nodes[operator].append(latency_ms)
        entries = [
            OperatorTime(operator=operator, nodes=len(times), latency_ms=sum(times))
            for operator, times in nodes.items()
        ]
        return tuple(sorted(entries, key=lambda entry: -entry.latency_ms))

    def _timing(self, file: Path) -> Timing:
        try:
            total_ms = sum(
                latency_ms for _, latency_ms in self._nodes_ms(_inferred(file, self._profile.batch))
            )
        except Exception as error:  # whatever reading a foreign file raises is its status
            return not_measured("unsupported", _words(error))
        latency_ms = max(total_ms, 1e-6)  # a layer that is only views takes next to nothing, not nothing
        return Timing(median_ms=latency_ms, low_ms=latency_ms, high_ms=latency_ms, repeats=1)

    def _nodes_ms(self, model: ModelProto) -> list[tuple[str, float]]:
        """The type and the milliseconds of each node that takes any."""
        sizes = _sizes(model, self._profile.batch)
        int8 = any(entry.value == _INT8 for entry in model.metadata_props) or any(
            node.op_type == "QuantizeLinear" for node in model.graph.node
        )
        value_bytes = _VALUE_BYTES["int8" if int8 else "fp32"]
        slower = max(1.0, value_bytes / _VALUE_BYTES[self._profile.precisions[0]])
        found = []
        for node in model.graph.node:
            if node.op_type in _FREE:
                continue
            moved = sum(math.prod(sizes.get(name, ())) for name in (*node.input, *node.output) if name)
            seconds = max(
                slower * _macs(node, sizes) / self._macs_per_s, value_bytes * moved / self._bytes_per_s
            )
            found.append((node.op_type, 1e3 * seconds + self._layer_overhead_ms))
        return found


def _inferred(file: Path, batch: int) -> ModelProto:
    """The graph of a file with all shapes that follow from a batch of this many images.

    Raises:
        ValueError: it has no operators.
    """
    model = onnx.load(file)
    if not model.graph.node:
        raise ValueError("this is no ONNX file, or one without operators")
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = batch
    return shape_inference.infer_shapes(model, data_prop=True)


def _words(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


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
