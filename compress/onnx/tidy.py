"""A traced graph without what tracing left: chains of operators that only compute shapes, constants as nodes.

With a free batch the tracing exporter writes ``reshape(batch, -1, 16, height * width)`` as a Shape, Gathers,
Unsqueezes and a Concat in front of the Reshape. What such a chain gives is known once it was run on two
batches: what stays the same is a constant, and a Reshape with one dimension that varies can infer that one.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto, numpy_helper

Arrays = dict[str, NDArray[Any]]


def tidy(model: ModelProto, images: NDArray[Any]) -> None:
    """Tidies a traced graph, in place; what it computes stays the same for every batch.

    What depends on neither the batch nor the input's values (shapes, generated kernels) becomes a constant,
    Constant nodes become initializers, and initializers that are another's copy that one. Tensors get short
    names, since an int8 file repeats each some six times; weights keep theirs. A graph with branches or loops
    is left as it is.

    Args:
        model: one input, its batch free.
        images: an input (B, ...); it is run, and so is one of twice the batch.
    """
    graph = model.graph
    if any(attribute.HasField("g") for node in graph.node for attribute in node.attribute):
        return
    _hold_constants(graph)
    _settle_shapes(model, images)
    _drop_unread(graph)
    _shorten_names(graph)


def _settle_shapes(model: ModelProto, images: NDArray[Any]) -> None:
    graph = model.graph
    shapes = _of_shapes_alone(graph)
    if not shapes:
        return
    reshapes = [node for node in graph.node if node.op_type == "Reshape" and node.input[1] in shapes]
    bounds = sorted({name for node in graph.node for name in node.input if name in shapes})
    wanted = list(dict.fromkeys([*bounds, *(node.output[0] for node in reshapes)]))
    first, second = (_run(model, wanted, batch) for batch in (images, np.concatenate([images, images])))
    for node in reshapes:
        target = _target(first[node.output[0]].shape, second[node.output[0]].shape)
        if target is not None:
            _add(graph, f"{node.output[0]}_shape", target)
            node.input[1] = f"{node.output[0]}_shape"
    for name in bounds:
        if first[name].shape == second[name].shape and (first[name] == second[name]).all():
            _rename(graph, name, f"{name}_settled")
            _add(graph, f"{name}_settled", first[name])


def _hold_constants(graph: GraphProto) -> None:
    """Constant nodes as initializers, and one name for initializers that are copies of one another."""
    held = {entry.name for entry in graph.initializer}
    outputs = {entry.name for entry in graph.output}
    kept: list[NodeProto] = []
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            _add(graph, node.output[0], numpy_helper.to_array(node.attribute[0].t))
        elif node.op_type == "Identity" and node.input[0] in held and node.output[0] not in outputs:
            _rename(graph, node.output[0], node.input[0])
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)


def _of_shapes_alone(graph: GraphProto) -> set[str]:
    """Names of what follows from shapes and constants, without a value of the input.

    Among them are kernels that a network generates from other weights, or from the size of its maps.
    """
    constants = {entry.name for entry in graph.initializer}
    found: set[str] = set()
    for node in graph.node:  # in the order of computation
        given = [name for name in node.input if name]
        if node.op_type == "Shape" or (given and all(name in found or name in constants for name in given)):
            found.update(node.output)
    return found


def _run(model: ModelProto, wanted: Collection[str], images: NDArray[Any]) -> Arrays:
    import onnxruntime

    seen = ModelProto()
    seen.CopyFrom(model)
    present = {entry.name for entry in seen.graph.output}
    seen.graph.output.extend(ValueInfoProto(name=name) for name in wanted if name not in present)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        seen.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    values = session.run(list(wanted), {session.get_inputs()[0].name: images})
    return dict(zip(wanted, values, strict=True))


def _target(first: tuple[int, ...], second: tuple[int, ...]) -> NDArray[np.int64] | None:
    """What a Reshape with these outputs may be given for its shape at any batch; None where two vary."""
    if len(first) != len(second) or 0 in first:
        return None
    target = [size if size == other else -1 for size, other in zip(first, second, strict=True)]
    return None if target.count(-1) > 1 else np.array(target, np.int64)


def _add(graph: GraphProto, name: str, values: NDArray[Any]) -> None:
    graph.initializer.append(numpy_helper.from_array(values, name))


def _rename(graph: GraphProto, name: str, replacement: str) -> None:
    for node in graph.node:
        for index, given in enumerate(node.input):
            if given == name:
                node.input[index] = replacement


def _drop_unread(graph: GraphProto) -> None:
    """Takes out nodes and initializers that nothing reads."""
    read = {entry.name for entry in graph.output}
    kept = []
    for node in reversed(graph.node):
        if any(name in read for name in node.output):
            read.update(node.input)
            kept.append(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    initializers = [entry for entry in graph.initializer if entry.name in read]
    del graph.initializer[:]
    graph.initializer.extend(initializers)


def _shorten_names(graph: GraphProto) -> None:
    """Calls tensors by operator and number, and constants that are no parameter of the network by number."""
    outputs = {entry.name for entry in graph.output}
    short: dict[str, str] = {}
    for index, node in enumerate(graph.node):
        for place, name in enumerate(node.output):
            if name and name not in outputs:
                short[name] = f"{node.op_type.lower()}_{index}" + (f"_{place}" if place else "")
    for index, entry in enumerate(graph.initializer):
        if "/" in entry.name or "::" in entry.name:
            short[entry.name] = f"constant_{index}"
            entry.name = short[entry.name]
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = short.get(name, name)
