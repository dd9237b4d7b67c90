"""Constants that several nodes of a float file read, each with its own copy where int8 needs one.

The exporter writes tensors of equal values once: all zero biases of one length, a weight and its transpose.
In int8 a bias has the step of its layer's inputs times that of its weights, and a weight has a scale for each
output channel. So one tensor cannot be the bias of a layer and an operand elsewhere, nor be read along two
axes: ONNX Runtime (1.31) then computes the layer in float, or the second reader with the first one's scales.
"""

from __future__ import annotations

from onnx import ModelProto, NodeProto, TensorProto

from compress.onnx.layers import WeightedNode, weighted_nodes


def own_constants(model: ModelProto) -> None:
    """Gives layers of a float file copies of constants that others read otherwise, in place.

    A weight stays one where all its readers are layers that have their output channels along the same axis.
    """
    held = {entry.name: entry for entry in model.graph.initializer}
    layers = weighted_nodes(model)
    taken = {name for node in model.graph.node for name in node.output} | set(held)
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
