"""Static int8 quantization of an exported file in ONNX Runtime.

Uint8 activations, int8 weights with a scale for each output channel, as QuantizeLinear and
DequantizeLinear around each operator ("Quantizing deep convolutional networks for efficient inference",
Krishnamoorthi 2018). Activation ranges come from calibration images.
"""

from __future__ import annotations

import io
import logging
import tempfile
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from compress.onnx.export import INPUT_NAME
from results.files import write_atomic
from results.names import unknown

_ERRORS, _WARNINGS = 3, 2  # severities of ONNX Runtime; the second is its default
RangeMethod = Literal["minmax", "percentile", "entropy"]

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


def quantize_static(
    path: Path,
    images: NDArray[np.float32],
    target: Path,
    *,
    operators: Collection[str] = EVERY_OPERATOR,
    ranges: RangeMethod = "minmax",
    per_channel: bool = True,
    reduce_range: bool = False,
    activation_ranges: Mapping[str, tuple[float, float]] | None = None,
    batch_size: int = 32,
) -> None:
    """Writes an int8 version of a float ONNX file, atomically.

    Args:
        path: Float file, as ``export_onnx`` wrote it.
        images: Calibration images, float32 (N, ...), preprocessed as in training; 100 to 1000 are enough.
        target: Path of the int8 file.
        operators: Types of operators to quantize (``Conv``, ``Gemm``); none named means all that can be.
        ranges: Way in which an activation's range follows from what was seen: the extremes, the 99.999th
            percentile, or least entropy.
        per_channel: Whether each output channel of a weight has its scale; otherwise the whole has one.
        reduce_range: Whether weights have 7 bits, for x86 CPUs without VNNI, whose 16-bit sums saturate.
        activation_ranges: (low, high) by tensor name, used in place of the calibrated ranges (a
            quantization-aware training has learned them).
        batch_size: Calibration images in a call, where the file leaves it open.

    Raises:
        ValueError: no images, an unknown range method, images of the wrong shape, or a file that cannot
            be quantized.
        OSError: the file cannot be written; nothing is left behind.
    """
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    methods = {
        "minmax": quantization.CalibrationMethod.MinMax,
        "percentile": quantization.CalibrationMethod.Percentile,
        "entropy": quantization.CalibrationMethod.Entropy,
    }
    if ranges not in methods:
        raise ValueError(f"unknown range method {ranges!r}. Valid: {', '.join(methods)}.")
    if len(images) == 0:
        raise ValueError(f"no calibration images to quantize {path} with")
    overrides = {
        name: [{"rmin": np.float32(low), "rmax": np.float32(high)}]
        for name, (low, high) in (activation_ranges or {}).items()
    }
    with tempfile.TemporaryDirectory() as folder, _quiet():
        prepared, quantized = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        try:
            batch_size = _fixed_batch(path) or batch_size
            quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
            quantization.quantize_static(
                str(prepared),
                str(quantized),
                _Calibration(images, batch_size),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=list(operators) or None,
                nodes_to_exclude=_grouped_transposed(prepared) if per_channel else [],
                per_channel=per_channel,
                reduce_range=reduce_range,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                calibrate_method=methods[ranges],
                extra_options={"TensorQuantOverrides": overrides} if overrides else {},
            )
        except Exception as error:  # the runtime's exception classes share no base but Exception
            raise ValueError(f"{path} cannot be quantized: {error}") from error
        write_atomic(target, quantized.read_bytes())


def _fixed_batch(path: Path) -> int:
    """Images that a file takes in a call; 0 where any number will do."""
    size: int = onnx.load(str(path)).graph.input[0].type.tensor_type.shape.dim[0].dim_value
    return size


def _grouped_transposed(path: Path) -> list[str]:
    """Names of grouped transposed convolutions, which stay float.

    Their output channels are spread over two dimensions of the weight, and ONNX Runtime takes the scales of
    one of them for the bias (onnxruntime issue 19694).
    """
    return [
        node.name
        for node in onnx.load(path, load_external_data=False).graph.node
        if node.op_type == "ConvTranspose"
        and any(attribute.name == "group" and attribute.i > 1 for attribute in node.attribute)
    ]


class _Calibration:
    """Batches of equal size, in the form ONNX Runtime asks for them."""

    def __init__(self, images: NDArray[np.float32], batch_size: int) -> None:
        size = min(batch_size, len(images))
        whole = np.ascontiguousarray(images[: len(images) // size * size], dtype=np.float32)
        self._batches: Iterator[NDArray[np.float32]] = iter(np.split(whole, len(whole) // size))

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT_NAME: batch}


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
