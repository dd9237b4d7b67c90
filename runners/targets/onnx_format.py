"""Networks and layers as ONNX for a hardware profile: its precision, and the operators that it rules out."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
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
from runners.targets.calls import in_calls
from runners.targets.hardware import HardwareProfile

FORMAT = "onnx"


def export_for(
    profile: HardwareProfile, network: nn.Module, input_shape: tuple[int, ...], path: Path, precision: str
) -> None:
    """Writes a network as an ONNX file for a profile, as ``Target.export`` has it."""
    content = onnx_bytes(
        network,
        input_shape,
        precision="int8" if precision == "int8" else "fp32",
        unsupported_operators=profile.unsupported_operators,
    )
    write_atomic(path, content if precision in ("fp32", "int8") else marked(content, precision))


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
) -> bytes:
    """A module as an ONNX file: the one that ``compress.onnx.export`` hands over, or its int8 version.

    Raises:
        ValueError: the module cannot be exported or holds an unsupported operator, in one line.
    """
    if precision not in ("fp32", "int8"):
        raise ValueError(unknown("precision", precision, ("fp32", "int8")))
    content = export.onnx_bytes(module, input_shape)
    if unsupported_operators:
        _refuse(onnx.load_from_string(content), unsupported_operators)
    return _int8(content, input_shape) if precision == "int8" else content


def _refuse(model: onnx.ModelProto, unsupported: Sequence[str]) -> None:
    found = sorted({node.op_type for node in model.graph.node} & set(unsupported))
    if found:
        raise ValueError(f"uses {', '.join(found)}, which the profile cannot run")


def _int8(content: bytes, input_shape: tuple[int, ...]) -> bytes:
    """Quantized as compression tries first, but on random images: the scales are not the deployed ones."""
    images = np.random.default_rng(0).standard_normal((4, *input_shape), dtype=np.float32)
    with tempfile.TemporaryDirectory(prefix="quarry-") as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(content)
        quantize_static(source, images, target, Int8(operators=OPERATORS[Quantize().operators[0]]))
        return target.read_bytes()
