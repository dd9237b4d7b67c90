"""A module as an ONNX file: BatchNorms folded, constants folded, batch size free, weights inside the file."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from compress.onnx.file import OnnxFile
from compress.onnx.fuse import fuse
from results.files import write_atomic

OPSET = 20  # the first in which GELU is one operator
INPUT_NAME = "images"
OUTPUT_NAME = "logits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """An ONNX file and how it is called.

    Attributes:
        path: the file.
        input_name: of the one input, float32 (B, ...) with B free.
        output_name: of the one output, float32 (B, ...).
        opset: of the standard operators it uses.
        size_bytes: of the file.
    """

    path: Path
    input_name: str
    output_name: str
    opset: int
    size_bytes: int


def export_onnx(network: nn.Module, example: Tensor, path: Path, *, like: Path | None = None) -> Exported:
    """Writes a network as one ONNX file, atomically.

    Args:
        network: takes one tensor, gives one tensor; it is copied, fused and exported in eval mode.
        example: an input, float32 (B, ...); only the batch dimension is left free in the file.
        path: where the file goes.
        like: a float file that was exported from the same network with other weights. Putting the new
            weights into it takes milliseconds where tracing takes seconds; where they do not all find
            their place, or the outcome is not the network's, the network is traced after all.

    Raises:
        ValueError: the network cannot be exported, or gives something else than one tensor.
        OSError: the file cannot be written; nothing is left behind.
    """
    content = (_with_weights(like, network, example) if like else None) or onnx_bytes(network, example)
    write_atomic(path, content)
    return Exported(
        path=path,
        input_name=INPUT_NAME,
        output_name=OUTPUT_NAME,
        opset=OPSET,
        size_bytes=len(content),
    )


def onnx_bytes(network: nn.Module, example: Tensor) -> bytes:
    """The content of the file that ``export_onnx`` writes."""
    fused = fuse(network).float().cpu()
    # One image would make the exporter take the batch size for a constant.
    images = example[:1].detach().float().cpu().expand(2, *example.shape[1:]).contiguous()
    with torch.no_grad():
        output = fused(images)
    if not isinstance(output, Tensor):
        raise ValueError(
            f"{type(network).__name__} gives a {type(output).__name__}; only networks that give one tensor "
            "can be exported"
        )
    with _quiet():
        try:
            program = torch.onnx.export(
                fused,
                (images,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT_NAME],
                output_names=[OUTPUT_NAME],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                external_data=False,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            reason = str(error.__cause__ or error).strip().splitlines()[0]
            raise ValueError(f"{type(network).__name__} cannot be exported to ONNX: {reason}") from error
    assert program is not None
    model = program.model_proto
    _strip(model.graph)
    return model.SerializeToString()


def _with_weights(like: Path, network: nn.Module, example: Tensor) -> bytes | None:
    """The file with the weights of the network; None where that is not the network."""
    fused = fuse(network).float().cpu()
    model = onnx.load(str(like))
    weights = {name: tensor.detach() for name, tensor in fused.named_parameters()}
    stored = {entry.name: entry for entry in model.graph.initializer if entry.name in weights}
    for name, tensor in weights.items():
        if name not in stored or list(tensor.shape) != list(stored[name].dims):
            return None
        stored[name].CopyFrom(onnx.numpy_helper.from_array(tensor.numpy(), name))
    content = model.SerializeToString()
    images = torch.rand(4, *example.shape[1:], generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = fused(images)
    got = torch.from_numpy(OnnxFile(content)(images.numpy()))
    close = got.shape == expected.shape and (got - expected).abs().max() <= 1e-4 * expected.abs().max()
    return content if close else None


def _strip(graph: onnx.GraphProto) -> None:
    """Removes the exporter's notes: they hold stack traces with paths of the machine that exported."""
    del graph.metadata_props[:]
    for part in (graph.node, graph.input, graph.output, graph.value_info, graph.initializer):
        for entry in part:
            del entry.metadata_props[:]
            entry.doc_string = ""


@contextmanager
def _quiet() -> Iterator[None]:
    """Holds back the exporter's chatter about packages it could use and its own deprecated calls."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
