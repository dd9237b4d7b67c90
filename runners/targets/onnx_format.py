"""Networks and layers as ONNX for a hardware profile: its precision, and the operators that it rules out."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from torch import nn

from compress.onnx import export
from compress.onnx.file import OnnxFile
from compress.onnx.static import Int8, quantize_static
from compress.steps import OPERATORS, Quantize
from results.files import write_atomic
from results.names import unknown
from results.precision import MIXED, int8_parts
from runners.targets.calls import in_calls
from runners.targets.hardware import PRECISIONS, HardwareProfile

FORMAT = "onnx"


def export_for(
    profile: HardwareProfile,
    network: nn.Module,
    input_shape: tuple[int, ...],
    path: Path,
    precision: str,
    *,
    float_thin: bool = False,
) -> None:
    """Writes a network as an ONNX file for a profile, as ``Target.export`` has it; see ``Facts``."""
    content = onnx_bytes(
        network,
        input_shape,
        precision=precision,
        unsupported_operators=profile.unsupported_operators,
        float_thin=float_thin,
    )
    write_atomic(path, content)


def take_for(
    profile: HardwareProfile, source: Path, path: Path, precision: str, *, float_thin: bool = False
) -> None:
    """Writes an ONNX file as one for a profile, as ``TakesOnnx.take_onnx`` has it; see ``Facts``."""
    content = source.read_bytes()
    shape = input_shape_of(content) if precision == "int8" else ()
    write_atomic(path, _in(precision, content, shape, profile.unsupported_operators, float_thin))


def input_shape_of(content: bytes) -> tuple[int, ...]:
    """Shape of the one input of an ONNX file, without the batch.

    Raises:
        ValueError: it has several inputs, one of integers, or leaves sizes behind the batch open.
    """
    graph = onnx.load_from_string(content).graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [given for given in graph.input if given.name not in weights]
    if len(inputs) != 1:
        raise ValueError(f"the file takes {len(inputs)} inputs, and images are one")
    given = inputs[0].type.tensor_type
    if given.elem_type != onnx.TensorProto.FLOAT:
        kind = onnx.TensorProto.DataType.Name(given.elem_type).lower()
        raise ValueError(f"input {inputs[0].name!r} of the file is {kind}, and images are float")
    sizes = [axis.dim_value for axis in given.shape.dim[1:]]
    if not all(sizes):
        raise ValueError(f"the file leaves sizes of input {inputs[0].name!r} open")
    return tuple(sizes)


def marked(content: bytes, precision: str) -> bytes:
    """A float file that says in which number format runtimes are to compute it once they load it."""
    model = onnx.load_from_string(content)
    model.metadata_props.add(key="precision", value=precision)
    return bytes(model.SerializeToString())


def run_onnx(file: Path, images: NDArray[Any], threads: int = 1) -> NDArray[np.float32]:
    """Outputs of an ONNX file in ONNX Runtime on this machine's CPU."""
    session = OnnxFile(file, threads=threads)
    return in_calls(session, images, session.batch)


def onnx_bytes(
    module: nn.Module,
    input_shape: tuple[int, ...],
    *,
    precision: str = "fp32",
    unsupported_operators: Sequence[str] = (),
    float_thin: bool = False,
) -> bytes:
    """A module as an ONNX file: the one that ``compress.onnx.export`` hands over, quantized, or marked.

    In the precision ``mixed`` those parts of the module are int8 that are marked so.

    Raises:
        ValueError: the module cannot be exported or holds an unsupported operator, in one line.
    """
    if precision not in (*PRECISIONS, MIXED):
        raise ValueError(unknown("precision", precision, PRECISIONS))
    content = export.onnx_bytes(module, input_shape)
    if precision != MIXED:
        return _in(precision, content, input_shape, unsupported_operators, float_thin)
    parts, content = int8_parts(module), _in("fp32", content, input_shape, unsupported_operators, float_thin)
    return _int8(content, input_shape, float_thin, only=parts) if parts else content


def _in(
    precision: str,
    content: bytes,
    input_shape: tuple[int, ...],
    unsupported_operators: Sequence[str],
    float_thin: bool,
) -> bytes:
    """A float file in a number format."""
    if unsupported_operators:
        _refuse(onnx.load_from_string(content), unsupported_operators)
    if precision == "int8":
        return _int8(content, input_shape, float_thin)
    return content if precision == "fp32" else marked(content, precision)


def _refuse(model: onnx.ModelProto, unsupported: Sequence[str]) -> None:
    found = sorted({node.op_type for node in model.graph.node} & set(unsupported))
    if found:
        raise ValueError(f"uses {', '.join(found)}, which the profile cannot run")


def _int8(
    content: bytes, input_shape: tuple[int, ...], float_thin: bool, only: Collection[str] | None = None
) -> bytes:
    """Quantized as compression tries first, but on random images: the scales are not the deployed ones."""
    images = np.random.default_rng(0).standard_normal((4, *input_shape), dtype=np.float32)
    with tempfile.TemporaryDirectory(prefix="quarry-") as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(content)
        how = Int8(operators=OPERATORS[Quantize().operators[0]], only=only, float_thin=float_thin)
        quantize_static(source, images, target, how)
        return target.read_bytes()
