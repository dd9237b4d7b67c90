"""What several nodes of a float file read, each with its own copy where int8 needs one.

The exporter writes tensors of equal values once: all zero biases of one length, a weight and its transpose.
In int8 a bias has the step of its layer's inputs times that of its weights, and a weight has a scale for each
output channel. So one tensor cannot be the bias of a layer and an operand elsewhere, nor be read along two
axes: ONNX Runtime (1.31) then computes the layer in float, or the second reader with the first one's scales.
And a range that a training with its rounding simulated has learned for the input of a layer is that layer's
alone: what passes by the layer, as in a residual block, must not be clipped to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from compress.onnx.layers import WeightedNode, weighted_nodes
from compress.onnx.numbers.ranges import Range

_CUT_OFF = 1.0
"""Part of a learned range by which values may lie outside of it before layers have their own tensor.

It costs conversions. LSQ and moving averages stay below on small networks, and clipping there cost nothing.
"""


def own_constants(model: ModelProto) -> None:
    """Gives layers of a float file copies of constants that others read otherwise, in place.

    A weight stays one where all its readers are layers that have their output channels along the same axis.
    """
    held = {entry.name: entry for entry in model.graph.initializer}
    layers = weighted_nodes(model)
    taken = _names(model) | set(held)
    for layer in layers:
        for bias in layer.node.input[2:3]:
            if bias in held and len(_readings(model, bias)) > 1:
                _read_a_copy(model, layer.node, 2, held[bias], _free(f"{bias}_copy", taken))
    for weight in dict.fromkeys(layer.weight for layer in layers if layer.node.input[1] == layer.weight):
        readers = [layer for layer in layers if layer.weight == weight]
        by_axis: dict[int, list[WeightedNode]] = {}
        for layer in readers:
            by_axis.setdefault(layer.output_axis, []).append(layer)
        alone = len(_readings(model, weight)) == len(readers)
        for axis, along in list(by_axis.items())[1 if alone else 0 :]:
            name = _free(f"{weight}_axis{axis}", taken)
            for layer in along:
                _read_a_copy(model, layer.node, 1, held[weight], name)


def clipped(model: ModelProto, known: Mapping[str, Range]) -> ModelProto:
    """A copy of a float file whose layers clip their inputs to the (low, high) that they have learned.

    What comes behind them has other ranges than without the clipping, which training had.
    """
    copied = ModelProto()
    copied.CopyFrom(model)
    taken = _names(copied)
    for name, ends in known.items():
        if layers := _layers_on(copied, name):
            own = _free(f"{name}_clipped", taken)
            bounds = [_free(f"{own}_{end}", taken) for end in ("low", "high")]
            for bound, value in zip(bounds, ends, strict=True):
                copied.graph.initializer.append(numpy_helper.from_array(np.float32(value), bound))
            _put_before(copied, layers, helper.make_node("Clip", [name, *bounds], [own], name=own))
    return copied


def own_inputs(
    model: ModelProto, known: Mapping[str, Range], ranges: Mapping[str, Range]
) -> dict[str, Range]:
    """Gives layers of a float file tensors of their own where their range would clip what others read.

    Args:
        model: the file, changed in place.
        known: (low, high) that layers have learned, by the name of the tensor that they read.
        ranges: (low, high) that tensors have.

    Returns:
        The learned ranges by the names of the tensors that layers read now.
    """
    taken = _names(model)
    given_out = {entry.name for entry in model.graph.output}
    found: dict[str, Range] = {}
    for name, (low, high) in known.items():
        seen = ranges.get(name, (low, high))
        outside = max(0.0, low - seen[0]) + max(0.0, seen[1] - high)
        layers = _layers_on(model, name)
        alone = len(layers) == len(_readings(model, name)) and name not in given_out
        if layers and not alone and outside > _CUT_OFF * (high - low):
            own = _free(f"{name}_of_layers", taken)
            _put_before(model, layers, helper.make_node("Identity", [name], [own], name=own))
            found[own] = low, high
        else:
            found[name] = low, high
    return found


def _names(model: ModelProto) -> set[str]:
    return {name for node in model.graph.node for name in (*node.output, *node.input)}


def _layers_on(model: ModelProto, name: str) -> list[NodeProto]:
    """The layers that a tensor goes into."""
    return [layer.node for layer in weighted_nodes(model) if layer.node.input[0] == name]


def _put_before(model: ModelProto, layers: Sequence[NodeProto], node: NodeProto) -> None:
    """Has layers read what a node makes of their input."""
    nodes = list(model.graph.node)
    model.graph.node.insert(min(nodes.index(layer) for layer in layers), node)
    for layer in layers:
        layer.input[0] = node.output[0]


def _readings(model: ModelProto, name: str) -> list[NodeProto]:
    """The nodes that read a tensor, one as often as it does."""
    return [node for node in model.graph.node for read in node.input if read == name]


def _free(name: str, taken: set[str]) -> str:
    """The name, with a number in front where it is taken."""
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{number}.{name}"
    taken.add(free)
    return free


def _read_a_copy(model: ModelProto, node: NodeProto, place: int, entry: TensorProto, name: str) -> None:
    if all(one.name != name for one in model.graph.initializer):
        copy = model.graph.initializer.add()
        copy.CopyFrom(entry)
        copy.name = name
    node.input[place] = name
