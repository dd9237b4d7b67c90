"""What lies inside an ONNX file while it runs: tensors by name, a batch at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, ValueInfoProto

Arrays = dict[str, NDArray[Any]]


def float_tensors(model: ModelProto) -> list[str]:
    """Names of the tensors that a file computes in float32, its float inputs first.

    Shapes have to be inferred in it, as ONNX Runtime's preprocessing leaves them.
    """
    typed = [*model.graph.input, *model.graph.value_info, *model.graph.output]
    weights = {entry.name for entry in model.graph.initializer}
    names = [entry.name for entry in typed if entry.type.tensor_type.elem_type == TensorProto.FLOAT]
    return [name for name in dict.fromkeys(names) if name not in weights]


def tapped(
    model: ModelProto, names: Collection[str], images: NDArray[np.float32], batch_size: int = 32
) -> Iterator[Arrays]:
    """Values of tensors for images, a batch at a time; the runtime's own optimizations are off.

    A file of a fixed batch leaves out what does not fill the last one.

    Args:
        model: a file with one input.
        names: tensors to give; inputs of the file among them.
        images: float32 (N, ...).
        batch_size: images at a time, where the file leaves it open.

    Raises:
        ValueError: the runtime cannot run the file on the images, or there are too few for its batch.
    """
    import onnxruntime

    (given,) = [entry.name for entry in model.graph.input if entry.name not in _weights(model)]
    inside = [name for name in names if name != given]
    opened = ModelProto()
    opened.CopyFrom(model)
    present = {entry.name for entry in opened.graph.output}
    opened.graph.output.extend(ValueInfoProto(name=name) for name in inside if name not in present)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(
            opened.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        fixed = session.get_inputs()[0].shape[0]
        size, last = (fixed, len(images) - fixed) if isinstance(fixed, int) else (batch_size, len(images) - 1)
        if last < 0:
            raise ValueError(f"there are {len(images)}, and it takes {size} at once")
        for start in range(0, last + 1, size):
            batch = np.ascontiguousarray(images[start : start + size], dtype=np.float32)
            values = session.run(inside, {given: batch}) if inside else []
            found = dict(zip(inside, values, strict=True))
            yield found | ({given: batch} if given in names else {})
    except Exception as error:  # the runtime's exception classes share no base but Exception
        raise ValueError(f"the file does not run on images of {images.shape[1:]}: {error}") from error


def _weights(model: ModelProto) -> set[str]:
    return {entry.name for entry in model.graph.initializer}
