"""Cross-layer equalization: neighbouring layers scaled against each other, the function unchanged.

"Data-Free Quantization Through Weight Equalization and Bias Correction" (Nagel et al., ICCV 2019), section
4.1. Between two layers with only positively homogeneous operators between them, a channel may be divided
by a factor where it is made and multiplied where it is read. The factors there make both ranges of a channel
equal. It serves where a weight has one scale for all channels, and where channels of activations differ.
"""

from __future__ import annotations

from collections import Counter
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

from compress.onnx.layers import WeightedNode, attributes, weighted_nodes

HOMOGENEOUS = (
    "Relu",
    "LeakyRelu",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "Flatten",
    "Identity",
    "Dropout",
)
_ROUNDS = 20
Weights = NDArray[np.float32]


def equalize(model: ModelProto) -> tuple[tuple[str, str], ...]:
    """Scales the weights of a float file in place.

    Returns:
        The pairs of layers (maker, reader), by name, whose common channels were scaled.
    """
    held = {entry.name: entry for entry in model.graph.initializer}
    arrays = {name: numpy_helper.to_array(entry).astype(np.float64) for name, entry in held.items()}
    pairs = _pairs(model, arrays)
    for _ in range(_ROUNDS):
        largest = max((_scale(maker, reader, arrays) for maker, reader in pairs), default=0.0)
        if largest < 1e-3:
            break
    for one in {layer.weight: layer for pair in pairs for layer in pair}.values():
        bias = one.node.input[2:3]
        for name in (one.weight, *bias):
            held[name].CopyFrom(numpy_helper.from_array(arrays[name].astype(np.float32), name))
    return tuple((maker.name, reader.name) for maker, reader in pairs)


def _pairs(model: ModelProto, arrays: dict[str, NDArray[Any]]) -> list[tuple[WeightedNode, WeightedNode]]:
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    given_out = {entry.name for entry in model.graph.output}
    uses = Counter(name for node in model.graph.node for name in node.input if name in arrays)
    layers = {
        layer.node.output[0]: layer
        for layer in weighted_nodes(model)
        if layer.node.op_type != "ConvTranspose"
        and all(uses[name] == 1 for name in layer.node.input if name in arrays)
    }
    found = []
    for output, maker in layers.items():
        if any(name and name not in arrays for name in maker.node.input[2:3]):
            continue
        tensor = output
        while tensor not in given_out and len(readers.get(tensor, ())) == 1:
            (reader,) = readers[tensor]
            if reader.op_type in HOMOGENEOUS:
                tensor = reader.output[0]
                continue
            layer = layers.get(reader.output[0])
            if layer is not None and reader.input[0] == tensor and _inputs(layer) == maker.outputs:
                found.append((maker, layer))
            break
    return found


def _inputs(layer: WeightedNode) -> int:
    """Input channels of a layer."""
    if layer.node.op_type == "Conv":
        return layer.shape[1] * int(attributes(layer.node).get("group", 1))
    return prod(layer.shape) // layer.outputs


def _scale(maker: WeightedNode, reader: WeightedNode, arrays: dict[str, NDArray[Any]]) -> float:
    """Scales one pair; the largest change of a factor, as a share."""
    made = np.moveaxis(arrays[maker.weight], maker.output_axis, 0)  # a view: (channels, ...)
    read = _by_input(arrays[reader.weight], reader)  # a view: (groups, channels in each, ...)
    first = np.abs(made).reshape(len(made), -1).max(axis=1)
    second = np.abs(read).reshape(*read.shape[:2], -1).max(axis=2).reshape(-1)
    usable = (first > 0) & (second > 0)
    factor = np.ones(len(first))
    factor[usable] = np.sqrt(first[usable] / second[usable])
    made /= factor.reshape(-1, *[1] * (made.ndim - 1))
    for name in maker.node.input[2:3]:
        arrays[name] = arrays[name] / factor
    read *= factor.reshape(*read.shape[:2], *[1] * (read.ndim - 2))
    return float(np.abs(factor - 1).max())


def _by_input(weight: NDArray[Any], layer: WeightedNode) -> NDArray[Any]:
    """A view of a weight with its input channels in front: (groups, channels of a group, ...)."""
    if layer.node.op_type != "Conv":
        return np.moveaxis(weight, 1 - layer.output_axis, 0)[None]
    groups = int(attributes(layer.node).get("group", 1))
    return np.moveaxis(weight.reshape(groups, -1, *weight.shape[1:]), 2, 1)
