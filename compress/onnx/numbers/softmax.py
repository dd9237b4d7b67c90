"""Ranges of softmax outputs that ONNX Runtime's uint8 softmax computes with.

Its kernel takes exponentials as large as float32 allows, divided by the number of values that sum to 1 and
by e^5, and multiplies them by the reciprocal of the outputs' scale (``QLinearSoftmax``, seen up to 1.31).
Where attention is nearly uniform the outputs are small, so that the scale calibrated for them makes the
product overflow: all outputs become 0, and so does all that attention adds. At 255 steps that is below an
upper end of 1.72 / n, for n values that sum to 1.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from compress.onnx.layers import attributes
from compress.onnx.numbers.mixed import PASSING
from compress.onnx.numbers.ranges import Range
from compress.onnx.taps import tapped

_LEAST = 2.0  # upper end times n; the least value that a softmax can have for its largest is 1 / n
_PASSING = (*PASSING, "Slice")  # through which the runtime moves a conversion back to the softmax


def least_ends(model: ModelProto, images: NDArray[np.float32], batch_size: int = 32) -> dict[str, float]:
    """Least upper ends of softmax outputs, and of what only rearranges them, by name of tensor.

    Args:
        model: a float file.
        images: images to see the sizes with, float32 (N, ...).
        batch_size: images in a call, where the file leaves it open.
    """
    softmaxes = {node.output[0]: node for node in model.graph.node if node.op_type == "Softmax"}
    if not softmaxes:
        return {}
    values = next(tapped(model, sorted(softmaxes), images[:batch_size], batch_size), {})
    ends = {
        name: _LEAST / max(1, array.shape[attributes(softmaxes[name]).get("axis", -1)])
        for name, array in values.items()
    }
    for node in model.graph.node:  # in the order of computation
        if node.op_type in _PASSING and node.input[0] in ends:
            ends[node.output[0]] = ends[node.input[0]]
    return ends


def widened(ranges: Mapping[str, Range], ends: Mapping[str, float]) -> dict[str, Range]:
    """Ranges whose upper ends are at least those given."""
    return {name: (low, max(high, ends.get(name, high))) for name, (low, high) in ranges.items()}
