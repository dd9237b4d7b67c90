"""A network as an ONNX file: the one exporter, for what is handed over as for what is only timed.

The file has a free batch, its BatchNorms and constants are folded, weights lie inside it under their
qualified names, and it holds nothing of the machine that wrote it. It is run beside its network before it is
written.

torch's tracing exporter writes it: 15 to 250 ms for a network, where the one of ``torch.export`` takes 0.6
to 3 s, and a table has a hundred layers. Its free batch leaves chains of Shape, Gather and Concat at every
reshape, which cost attention up to 23 % of its latency; ``tidy`` takes them out. Measured beside the
alternatives by ``python -m tests.benchmarks.exporting``: latency at batch 1 over that of a file of fixed
batch, one thread, within 2 %; in brackets the number of nodes.

| network               | fixed batch | free, as traced | free, tidied | torch.export |
|-----------------------|-------------|-----------------|--------------|--------------|
| attention, 64 x 4 x 4 | 1 (22)      | 1.23 (57)       | 1.00 (14)    | 1.00 (14)    |
| digits, all attention | 1 (185)     | 1.15 (395)      | 1.02 (121)   | 1.00 (121)   |
| digits, all depthwise | 1 (65)      | 1.00 (65)       | 1.00 (49)    | 1.00 (49)    |
| cifar, all attention  | 1 (277)     | 1.08 (592)      | 1.00 (180)   | 0.99 (180)   |

So one file serves any batch at next to no price. A fixed batch would need another file, or a rewritten one,
wherever accuracy is judged; dimensions that the runtime is told to override would time what no user runs.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import onnx
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from compress.onnx.agreement import refuse_another, sample
from compress.onnx.fuse import fuse
from compress.onnx.tidy import tidy
from compress.plain import faithful_copy
from results.files import write_atomic

OPSET = 20  # the first in which GELU is one operator, the last that the tracing exporter knows
INPUT_NAME = "images"
OUTPUT_NAME = "logits"
_UNHEARD = frozenset(
    {"equal", "allclose", "is_nonzero"}
)  # truths about values of which the tracer does not warn


def export_onnx(network: nn.Module, example: Tensor | Sequence[int], path: Path) -> None:
    """Writes a network, or a single layer, as one ONNX file, atomically.

    Args:
        network: takes one tensor, gives one tensor, each with the batch first; it is left untouched. The
            file is of a copy in eval mode and float32.
        example: an input (B, ...), float32 or integers; or the shape of one float32 input without the batch.
        path: file to write.

    Raises:
        ValueError: the network cannot be exported, does not give one tensor, or the file gives other outputs
            than the network.
        OSError: the file cannot be written; nothing is left behind.
    """
    write_atomic(path, onnx_bytes(network, example))


def onnx_bytes(network: nn.Module, example: Tensor | Sequence[int]) -> bytes:
    """The content of the file that ``export_onnx`` writes; the same network gives the same bytes.

    What cannot be traced, or is another network when traced (a batch or a condition that became a constant,
    seen at 1, 3 and 8 images), is left to the exporter of ``torch.export``, which is slow and takes most of
    it.

    Raises:
        ValueError: as ``export_onnx``.
    """
    kind = type(network).__name__
    try:
        whole = faithful_copy(network).cpu().float().eval()
        fused = fuse(whole)
    except Exception as error:  # what cannot be copied, or a folding of the user's that fails
        raise ValueError(f"{kind} cannot be exported to ONNX: {_in_a_line(error)}") from error
    inputs, expected = sample(whole, example)
    reasons = []
    for write in (_traced, _programmed):
        try:
            with _quiet(), _plain_attention():
                content = write(fused, inputs[:2])
            refuse_another(content, inputs, expected)
            return content
        except Exception as error:  # exporters and a user's module fail in whatever way they like
            reasons.append(_in_a_line(error))
    raise ValueError(f"{kind} cannot be exported to ONNX: {reasons[1]} (traced: {reasons[0]})")


def _traced(fused: nn.Module, images: Tensor) -> bytes:
    """Exports with torch's tracing exporter; two images, as of one it would take the batch for constant."""
    file = io.BytesIO()
    with warnings.catch_warnings(record=True) as caught, torch.no_grad(), _ConditionsHeard():
        warnings.simplefilter("always")
        torch.onnx.export(
            fused,
            (images.clone(),),
            file,  # type: ignore[arg-type] # this exporter takes a file, its annotation forgets it
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            dynamic_axes={INPUT_NAME: {0: "batch"}, OUTPUT_NAME: {0: "batch"}},
        )
    if any(issubclass(warning.category, torch.jit.TracerWarning) for warning in caught):
        _refuse_conditions_on_values(fused, images)
    model = onnx.load_from_string(file.getvalue())
    tidy(model, images.numpy())
    return _without_notes(model)


class _ConditionsHeard(TorchFunctionMode):
    """Raises where ``forward`` asks for a truth about values that the tracer holds as a constant unsaid."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in _UNHEARD:
            raise ValueError(
                f"torch.{name} in forward is a condition on values, which a trace holds as constant"
            )
        return func(*args, **(kwargs or {}))


def _refuse_conditions_on_values(fused: nn.Module, images: Tensor) -> None:
    """Raises where ``forward`` reads values in Python, which a trace holds as constants.

    The tracer warns of conditions on shapes in the same words. They hold for tensors without values too.
    """
    with torch.device("meta"), torch.no_grad():
        faithful_copy(fused).to("meta")(images.to("meta"))


def _programmed(fused: nn.Module, images: Tensor) -> bytes:
    """Exports with the exporter of ``torch.export``."""
    program = torch.onnx.export(
        fused,
        (images.clone(),),
        dynamo=True,
        opset_version=OPSET,
        input_names=[INPUT_NAME],
        output_names=[OUTPUT_NAME],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        external_data=False,
        verbose=False,
    )
    assert program is not None
    return _without_notes(program.model_proto)


def _without_notes(model: onnx.ModelProto) -> bytes:
    """The file without the exporters' notes, some of which hold stack traces with paths of this machine."""
    graph = model.graph
    del model.metadata_props[:]
    del graph.metadata_props[:]
    del graph.value_info[:]
    for part in (graph.node, graph.input, graph.output, graph.initializer):
        for entry in part:
            del entry.metadata_props[:]
            entry.doc_string = ""
    return model.SerializeToString(deterministic=True)


def _in_a_line(error: Exception) -> str:
    words = str(error.__cause__ or error).strip() or str(error).strip() or type(error).__name__
    return words.splitlines()[0]


@contextmanager
def _quiet() -> Iterator[None]:
    """Holds back the exporters' chatter: packages they could use, deprecations of their own, whole graphs."""
    disabled, unheard = logging.root.manager.disable, io.StringIO()
    logging.disable(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(unheard),
            contextlib.redirect_stderr(unheard),
            # It writes the graph of what cannot be exported past Python's streams, enabled or not.
            mock.patch("torch._C._jit_onnx_log", create=True),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Has torch's attention layers run operator by operator, not as one that no exporter knows."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
