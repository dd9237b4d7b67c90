"""Modules as ONNX, fast enough to export a hundred layers: how everything that is only timed is exported."""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from compress.onnx.export import INPUT_NAME, OUTPUT_NAME
from compress.onnx.file import OnnxFile
from compress.onnx.fuse import fuse
from compress.onnx.static import quantize_static
from compress.steps import OPERATORS, Quantize
from results.files import write_atomic
from results.names import unknown
from runners.targets.calls import in_calls
from runners.targets.hardware import HardwareProfile

FORMAT = "onnx"
OPSET = 18


def export_for(
    profile: HardwareProfile, network: nn.Module, input_shape: tuple[int, ...], path: Path, precision: str
) -> None:
    """Writes a network as an ONNX file for a profile, as ``Target.export`` has it."""
    content = onnx_bytes(
        network,
        input_shape,
        batch=profile.batch,
        precision=precision,
        unsupported_operators=profile.unsupported_operators,
    )
    write_atomic(path, content)


def run_onnx(file: Path, images: NDArray[Any], threads: int = 1) -> NDArray[np.float32]:
    """Outputs of an ONNX file in ONNX Runtime on this machine's CPU."""
    session = OnnxFile(file, threads=threads)
    return in_calls(session, images, session.batch)


def onnx_bytes(
    module: nn.Module,
    input_shape: tuple[int, ...],
    *,
    batch: int = 1,
    precision: str = "fp32",
    unsupported_operators: Sequence[str] = (),
) -> bytes:
    """A module as an ONNX file with everything folded that deployment folds.

    The TorchScript exporter takes 5 to 50 ms a layer and 0.2 s a network where the torch.export one, which
    writes the artifacts, takes 0.7 to 1.1 s and 3 s; ONNX Runtime makes the same kernels of either (on
    five networks of the CIFAR preset the two differed by 0 to 5 %, within the machine's noise). A table of
    a hundred layers has to fit into minutes, so the fast one exports whatever is only timed, layers and
    whole networks alike.

    Raises:
        ValueError: the module cannot be exported or holds an unsupported operator, in one line.
    """
    if precision not in ("fp32", "int8"):
        raise ValueError(unknown("precision", precision, ("fp32", "int8")))
    example = torch.zeros(batch, *input_shape)
    file = io.BytesIO()
    try:
        # Of what it cannot export, the exporter prints the graph.
        with warnings.catch_warnings(), torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # the exporter deprecates itself once per call
            torch.onnx.export(
                fuse(module),
                (example,),
                file,  # type: ignore[arg-type] # the fast exporter takes a file, its annotation forgets it
                dynamo=False,
                opset_version=OPSET,
                input_names=[INPUT_NAME],
                output_names=[OUTPUT_NAME],
            )
    except Exception as error:  # a user's module fails in whatever way it likes
        raise ValueError(f"cannot be exported to ONNX: {str(error).strip().splitlines()[0]}") from error
    content = file.getvalue()
    if unsupported_operators:
        _refuse(onnx.load_from_string(content), unsupported_operators)
    if precision == "int8":
        content = _int8(content, (batch, *input_shape))
    return content


def _refuse(model: onnx.ModelProto, unsupported: Sequence[str]) -> None:
    found = sorted({node.op_type for node in model.graph.node} & set(unsupported))
    if found:
        raise ValueError(f"uses {', '.join(found)}, which the profile cannot run")


def _int8(content: bytes, shape: tuple[int, ...]) -> bytes:
    """Quantized as compression tries first, but on random images: the scales are not the deployed ones."""
    images = np.random.default_rng(0).standard_normal((4 * shape[0], *shape[1:]), dtype=np.float32)
    with tempfile.TemporaryDirectory(prefix="quarry-") as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(content)
        operators = OPERATORS[Quantize().operators[0]]
        quantize_static(source, images, target, operators=operators, batch_size=shape[0])
        return target.read_bytes()
