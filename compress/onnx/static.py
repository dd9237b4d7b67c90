"""Static int8 quantization of an exported file in ONNX Runtime.

Uint8 activations, int8 weights with a scale for each output channel, as QuantizeLinear and
DequantizeLinear around each operator ("Quantizing deep convolutional networks for efficient inference",
Krishnamoorthi 2018). Activation ranges come from calibration images.
"""

from __future__ import annotations

import io
import logging
import math
import tempfile
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto

from compress.names import within
from compress.onnx.layers import attributes, weighted_nodes
from compress.onnx.numbers.equalize import equalize as equalize_layers
from compress.onnx.numbers.integers import put_integers
from compress.onnx.numbers.ranges import PERCENTILE, RANGE_METHODS, Range, RangeMethod, activation_ranges
from compress.onnx.numbers.rounding import Rounding, round_weights
from compress.onnx.numbers.shared import clipped, own_constants, own_inputs
from compress.onnx.numbers.softmax import least_ends, widened
from compress.onnx.taps import float_tensors
from results.files import write_atomic
from results.names import unknown

_ERRORS, _WARNINGS = 3, 2  # severities of ONNX Runtime; the second is its default

_CHANNELS_AT_ONCE = 4  # of an int8 convolution in ONNX Runtime
_NUMBER_BY_NUMBER = ("Clip", "HardSigmoid", "HardSwish", "LeakyRelu", "Mul", "Relu", "Sigmoid")
_THIN = 32  # products of an output number, below which float convolutions of few channels are faster

EVERY_OPERATOR: tuple[str, ...] = ()
"""All that ONNX Runtime can quantize."""
PRODUCTS = ("Conv", "Gemm", "MatMul")
"""Only what multiplies by weights or activations: fewer conversions where little else is quantized."""
CONVOLUTIONS = ("Conv", "Gemm")
"""Only what has weights: attention's products stay float."""

OperatorSet = Literal["every operator", "products and sums", "convolutions"]
OPERATORS: dict[OperatorSet, tuple[str, ...]] = {
    "every operator": EVERY_OPERATOR,
    "products and sums": (*PRODUCTS, "Add", "Relu"),
    "convolutions": CONVOLUTIONS,
}
"""Sets of operators by the names that recipes have for them."""


def operators_of(name: OperatorSet) -> tuple[str, ...]:
    """Types of the operators in a set of ``OPERATORS``.

    Raises:
        ValueError: there is no such set.
    """
    if name not in OPERATORS:
        raise ValueError(unknown("set of operators", name, OPERATORS))
    return OPERATORS[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8:
    """How a file is quantized to int8.

    Attributes:
        operators: types of operators to quantize (``Conv``, ``Gemm``); none named means all that can be.
        ranges: way in which an activation's range follows from what was seen.
        percentile: percent of the values inside the range, for that method.
        symmetric: whether activations are int8 around 0 instead of uint8 with a zero point.
        per_channel: whether each output channel of a weight has its scale; otherwise the whole has one.
        reduce_range: whether weights have 7 bits, for x86 CPUs without VNNI, whose 16-bit sums saturate.
        weight_bits: bits of a weight, 2 to 8; fewer than 8 are stored and computed as 8.
        equalize: whether neighbouring layers are scaled against each other first.
        rounding: way in which weights are rounded: to the nearest step, or as each layer's outputs say.
        rounding_steps: optimizer steps for each layer of adaptive rounding.
        correct_bias: whether the mean that rounding moves each channel by is taken from its bias.
        float_layers: names of layers, or of modules that hold them, that stay float.
        only: names of modules outside of which all operators stay float; None has no such modules.
        float_thin: whether small convolutions of fewer than four input channels, as the first on pictures,
            stay float where convolutions alone read them: ONNX Runtime's int8 kernels take channels in fours.
        seed: seed of adaptive rounding.
    """

    operators: Collection[str] = EVERY_OPERATOR
    ranges: RangeMethod = "minmax"
    percentile: float = PERCENTILE
    symmetric: bool = False
    per_channel: bool = True
    reduce_range: bool = False
    weight_bits: int = 8
    equalize: bool = False
    rounding: Rounding = "nearest"
    rounding_steps: int = 500
    correct_bias: bool = False
    float_layers: Collection[str] = ()
    only: Collection[str] | None = None
    float_thin: bool = False
    seed: int = 0


def quantize_static(
    path: Path,
    images: NDArray[np.float32],
    target: Path,
    how: Int8 = Int8(),
    *,
    known_ranges: Mapping[str, tuple[float, float]] | None = None,
    known_integers: Mapping[str, NDArray[np.int32]] | None = None,
    batch_size: int = 32,
) -> None:
    """Writes an int8 version of a float ONNX file, atomically.

    Args:
        path: Float file, as ``export_onnx`` wrote it.
        images: Calibration images, float32 (N, ...), preprocessed as in training; 100 to 1000 are enough.
        target: Path of the int8 file.
        how: Settings.
        known_ranges: (low, high) by tensor name, used in place of the calibrated ranges (a
            quantization-aware training has learned them).
        known_integers: Whole numbers that the weights of layers are multiples of, channel by channel, by the
            layer's name in the file, as such a training leaves them; they are the integers of the quantized
            one, but where they are of 8 bits and ``how.reduce_range`` asks for 7.
        batch_size: Calibration images in a call, where the file leaves it open.

    Raises:
        ValueError: no images, an unknown range method or layer, images of the wrong shape, or a file that
            cannot be quantized.
        OSError: the file cannot be written; nothing is left behind.
    """
    from onnxruntime.quantization.shape_inference import quant_pre_process

    if how.ranges not in RANGE_METHODS:
        raise ValueError(unknown("range method", how.ranges, RANGE_METHODS))
    if not 2 <= how.weight_bits <= 8:
        raise ValueError(f"weights have 2 to 8 bits, not {how.weight_bits}")
    if len(images) == 0:
        raise ValueError(f"no calibration images to quantize {path} with")
    with tempfile.TemporaryDirectory() as folder, _quiet():
        prepared = Path(folder) / "prepared.onnx"
        try:
            batch_size = _fixed_batch(path) or batch_size
            quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
            source = onnx.load(str(prepared))
            own_constants(source)
            left = [*_nodes_of(source, how.float_layers), *_outside(source, how.only)]
            left += _thin(source) if how.float_thin else []
            if how.equalize:
                equalize_layers(source)
            known_ranges = known_ranges or {}
            ranges = activation_ranges(
                clipped(source, known_ranges),
                images,
                float_tensors(source),
                how.ranges,
                percentile=how.percentile,
                batch_size=batch_size,
            )
            ends = least_ends(source, images, batch_size)
            ranges = widened(ranges, ends)
            learned = own_inputs(source, widened(known_ranges, ends), ranges)
            made = _with_integers(
                source,
                how,
                ranges | learned,
                _of_softmaxes(source, ranges) | learned,
                [*left, *(_grouped_transposed(source) if how.per_channel else ())],
            )
            put_integers(source, made, known_integers or {}, most=63 if how.reduce_range else 127)
            if how.weight_bits < 8 or how.rounding != "nearest" or how.correct_bias:
                round_weights(
                    source,
                    made,
                    images,
                    bits=7 if how.reduce_range and how.weight_bits == 8 else how.weight_bits,
                    rounding=how.rounding,
                    correct_bias=how.correct_bias,
                    steps=how.rounding_steps,
                    seed=how.seed,
                )
        except Exception as error:  # the runtime's exception classes share no base but Exception
            raise ValueError(f"{path} cannot be quantized: {error}") from error
        write_atomic(target, made.SerializeToString())


def _with_integers(
    source: ModelProto,
    how: Int8,
    ranges: Mapping[str, tuple[float, float]],
    known: Mapping[str, tuple[float, float]],
    left: Collection[str],
) -> ModelProto:
    """A file with QuantizeLinear and DequantizeLinear around its operators.

    Args:
        source: float file with shapes.
        how: settings.
        ranges: (low, high) of all float tensors by name; the runtime may give tensors that differ in layout
            alone, or by a ReLU, one range.
        known: those that hold whatever the runtime would do.
        left: names of nodes that stay float.
    """
    from onnxruntime import quantization
    from onnxruntime.quantization.calibrate import TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    method = quantization.CalibrationMethod.MinMax  # the word for plain pairs
    pairs = {name: (np.float32(low), np.float32(high)) for name, (low, high) in ranges.items()}
    fixed = {
        name: [{"rmin": np.float32(low), "rmax": np.float32(high)}] for name, (low, high) in known.items()
    }
    copied = ModelProto()
    copied.CopyFrom(source)
    quantizer = QDQQuantizer(
        copied,
        how.per_channel,
        how.reduce_range,
        quantization.QuantType.QInt8,
        quantization.QuantType.QInt8 if how.symmetric else quantization.QuantType.QUInt8,
        TensorsData(method, pairs),
        [],
        list(left),
        list(how.operators) or sorted({*QLinearOpsRegistry, *QDQRegistry}),
        {"ActivationSymmetric": how.symmetric} | ({"TensorQuantOverrides": fixed} if fixed else {}),
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    made: ModelProto = quantizer.model.model
    return made


def _nodes_of(model: ModelProto, names: Collection[str]) -> list[str]:
    """Names of the nodes of layers, given by their names or by those of modules that hold them.

    Raises:
        ValueError: no layer has such a name.
    """
    layers = weighted_nodes(model)
    nodes = []
    for name in names:
        inside = [one.node.name for one in layers if within(one.name, (name,))]
        if not inside:
            raise ValueError(unknown("layer", name, [one.name for one in layers]))
        nodes += inside
    return nodes


def _outside(model: ModelProto, modules: Collection[str] | None) -> list[str]:
    """Names of the nodes that are in none of these modules: the tracing exporter's are paths of modules.

    Raises:
        ValueError: the exporter gave them other names.
    """
    if modules is None or "" in modules:
        return []
    if not any(node.name.startswith("/") for node in model.graph.node):
        raise ValueError(
            "the operators of this file do not say which modules they are of, so parts of it cannot have "
            "number formats of their own"
        )
    return [node.name for node in model.graph.node if not within(_module_of(node), modules)]


def _module_of(node: NodeProto) -> str:
    """Name of the module that a node is of; a child of a row of modules repeats the name of the row.

    The convolution ``rows.0.conv`` is ``/rows/rows.0/conv/Conv``, in a ``ModuleList`` ``/rows.0/conv/Conv``.
    """
    names: list[str] = []
    for name in node.name.split("/")[1:-1]:
        if names and name.startswith(f"{names[-1]}."):
            names.pop()
        names.append(name)
    return ".".join(names)


def _of_softmaxes(model: ModelProto, ranges: Mapping[str, Range]) -> dict[str, Range]:
    """Ranges of softmax outputs. The runtime would take 0 to 1, in which each of 512 equal ones is 0."""
    outputs = [node.output[0] for node in model.graph.node if node.op_type == "Softmax"]
    return {name: ranges[name] for name in outputs if name in ranges}


def _fixed_batch(path: Path) -> int:
    """Images that a file takes in a call; 0 where any number will do."""
    size: int = onnx.load(str(path)).graph.input[0].type.tensor_type.shape.dim[0].dim_value
    return size


def _thin(model: ModelProto) -> list[str]:
    """Names of convolutions of one to three input channels with small kernels, but for depthwise ones.

    In ONNX Runtime float was faster for all of them, and not for larger kernels
    (``python -m tests.benchmarks.first_layer``), where convolutions alone read what they make: sums and
    poolings read another layout then, and what is gained goes into transposing.
    """
    readers: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)

    def read_by(name: str) -> set[str]:
        """Types of the operators that read a tensor, behind what works number by number."""
        found = set[str]()
        for node in readers.get(name, ()):
            passing = node.op_type in _NUMBER_BY_NUMBER
            found |= read_by(node.output[0]) if passing else {node.op_type}
        return found

    return [
        one.node.name
        for one in weighted_nodes(model)
        if one.node.op_type == "Conv"
        and one.shape[1] < _CHANNELS_AT_ONCE
        and one.shape[1] < math.prod(one.shape[1:]) < _THIN
        and attributes(one.node).get("group", 1) == 1
        and read_by(one.node.output[0]) == {"Conv"}
    ]


def _grouped_transposed(model: ModelProto) -> list[str]:
    """Names of grouped transposed convolutions, which stay float.

    Their output channels are spread over two dimensions of the weight, and ONNX Runtime takes the scales of
    one of them for the bias (onnxruntime issue 19694).
    """
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "ConvTranspose"
        and any(attribute.name == "group" and attribute.i > 1 for attribute in node.attribute)
    ]


@contextmanager
def _quiet() -> Iterator[None]:
    """Holds back advice that this module has already taken (preprocessing) or left aside on purpose."""
    import onnxruntime

    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    onnxruntime.set_default_logger_severity(_ERRORS)  # its calibration writes past Python's streams
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with redirect_stdout(io.StringIO()):
                yield
    finally:
        logger.setLevel(level)
        onnxruntime.set_default_logger_severity(_WARNINGS)
