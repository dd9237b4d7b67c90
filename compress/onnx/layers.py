"""Layers with weights in an ONNX file, float or quantized, under the names that people know them by."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, ValueInfoProto, helper, numpy_helper
from torch import nn

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
PALETTE = "_palette"
"""End of the names of the nodes that make a weight of a table and indices, and of its indices."""
_CONVERSIONS = ("DequantizeLinear", "Cast", "QuantizeLinear")
_WEIGHT_ENDS = ("_quantized", "_int4", "_fp16", "_bf16", PALETTE, "_axis0", "_axis1")


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedNode:
    """A node that multiplies by a constant.

    Attributes:
        name: qualified name of the layer in its network where the weight has kept that, else the node's own
            with points; the second of one name has ``#2`` behind it.
        node: the node in the graph.
        weight: name of the initializer that holds the weight, of integers in a quantized file.
        shape: sizes of the weight: (outputs, inputs / groups, ...) for ``Conv``, (inputs, outputs)
            for ``MatMul``; where the initializer holds indices into a table, of what is made of them.
    """

    name: str
    node: NodeProto
    weight: str
    shape: tuple[int, ...]

    @property
    def outputs(self) -> int:
        """Output channels."""
        if self.node.op_type == "ConvTranspose":
            return self.shape[1] * int(attributes(self.node).get("group", 1))
        return self.shape[self.output_axis]

    @property
    def output_axis(self) -> int:
        """Axis of the weight along which its output channels lie."""
        if self.node.op_type in ("Conv", "ConvTranspose"):
            return 0 if self.node.op_type == "Conv" else 1
        if self.node.op_type == "Gemm" and attributes(self.node).get("transB", 0):
            return 0
        return len(self.shape) - 1

    def macs_for(self, elements: int) -> int:
        """Multiply-accumulates of as many output numbers."""
        size = 1
        for length in self.shape:
            size *= length
        if self.node.op_type == "ConvTranspose":
            return 0  # of the outputs' neighbours; nothing that outputs alone would say
        return elements * size // max(1, self.outputs)


def attributes(node: NodeProto) -> dict[str, Any]:
    """The attributes of a node by name."""
    return {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}


def weighted_nodes(model: ModelProto) -> list[WeightedNode]:
    """The nodes of ``WEIGHTED`` whose weight is constant, in the order of the file."""
    held = {entry.name: tuple(entry.dims) for entry in model.graph.initializer}
    written = {entry.name: _sizes(entry) for entry in model.graph.value_info}
    makers = makers_of(model)
    found: list[WeightedNode] = []
    seen: dict[str, int] = {}
    for node in model.graph.node:
        if node.op_type not in WEIGHTED or len(node.input) < 2:
            continue
        weight = _constant_behind(node.input[1], makers, held)
        if weight is None:
            continue
        shape = written.get(node.input[1], held[weight]) if node.input[1] != weight else held[weight]
        if len(shape) < 2:
            continue
        name = layer_name(node, weight)
        seen[name] = seen.get(name, 0) + 1
        numbered = name if seen[name] == 1 else f"{name}#{seen[name]}"
        found.append(WeightedNode(name=numbered, node=node, weight=weight, shape=shape))
    return found


def makers_of(model: ModelProto) -> dict[str, NodeProto]:
    """The node that makes each tensor, by the tensor's name."""
    return {name: node for node in model.graph.node for name in node.output if name}


def nodes_of(model: ModelProto, network: nn.Module, names: Collection[str]) -> dict[str, list[NodeProto]]:
    """The nodes of layers in an exported file, by the layer's name in the network.

    The exporter keeps the qualified names of most weights, which say which node is which layer. A linear
    layer on inputs of more than two dimensions is a MatMul with the transposed weight under another name,
    and tied weights are in the file once, under the name of one layer; their values tell. A layer that is
    not in the file has no nodes.

    Args:
        model: exported file.
        network: what it was exported from.
        names: layers, by name.
    """
    held = {entry.name: entry for entry in model.graph.initializer}
    layers: dict[str, list[NodeProto]] = {name: [] for name in names}
    for node in model.graph.node:
        for parameter in node.input[1:]:
            layer, _, kind = parameter.rpartition(".")
            if kind == "weight" and layer in layers:
                layers[layer].append(node)
    weighted = [node for node in model.graph.node if node.op_type in WEIGHTED and node.input[1] in held]
    constants = {node.input[1]: numpy_helper.to_array(held[node.input[1]]) for node in weighted}
    for layer, nodes in layers.items():
        if not nodes:
            module: Any = network.get_submodule(layer)
            weight = module.weight.detach().cpu().float().numpy()
            either = (weight, weight.T) if weight.ndim == 2 else (weight,)
            same = {
                name
                for name, values in constants.items()
                if any(np.array_equal(values, one) for one in either)
            }
            nodes += [node for node in weighted if node.input[1] in same]
    return layers


def layer_name(node: NodeProto, weight: str = "") -> str:
    """What people call a node: the layer whose weight it reads, else its own name, with points."""
    for end in _WEIGHT_ENDS:
        weight = weight.removesuffix(end)
    if weight.endswith(".weight"):
        return weight.removesuffix(".weight")
    name = node.name or (node.output[0] if node.output else node.op_type)
    if name.startswith("/"):
        name = name.strip("/").replace("/", ".")
    return name.removesuffix(f".{node.op_type}") if weight else name


def _constant_behind(
    name: str, makers: Mapping[str, NodeProto], held: Mapping[str, tuple[int, ...]]
) -> str | None:
    """The initializer that a tensor is made from by conversions alone, or by entries of a table."""
    while name not in held:
        maker = makers.get(name)
        if maker is None or not (maker.op_type in _CONVERSIONS or maker.name.endswith(PALETTE)):
            return None
        name = maker.input[1 if maker.op_type == "Gather" else 0]
    return name


def _sizes(entry: ValueInfoProto) -> tuple[int, ...]:
    return tuple(one.dim_value for one in entry.type.tensor_type.shape.dim)
