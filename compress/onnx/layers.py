"""Layers with weights in an ONNX file, float or quantized, under the names that people know them by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onnx import ModelProto, NodeProto, helper

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_WEIGHT_ENDS = ("_quantized", "_int4", "_fp16", "_bf16", "_axis0", "_axis1")


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedNode:
    """A node that multiplies by a constant.

    Attributes:
        name: qualified name of the layer in its network where the weight has kept that, else the node's own
            with points; the second of one name has ``#2`` behind it.
        node: the node in the graph.
        weight: name of the initializer that holds the weight, of integers in a quantized file.
        shape: sizes of the weight: (outputs, inputs / groups, ...) for ``Conv``, (inputs, outputs)
            for ``MatMul``.
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
    makers = makers_of(model)
    found: list[WeightedNode] = []
    seen: dict[str, int] = {}
    for node in model.graph.node:
        if node.op_type not in WEIGHTED or len(node.input) < 2:
            continue
        weight = _constant_behind(node.input[1], makers, held)
        if weight is None or len(held[weight]) < 2:
            continue
        name = layer_name(node, weight)
        seen[name] = seen.get(name, 0) + 1
        numbered = name if seen[name] == 1 else f"{name}#{seen[name]}"
        found.append(WeightedNode(name=numbered, node=node, weight=weight, shape=held[weight]))
    return found


def makers_of(model: ModelProto) -> dict[str, NodeProto]:
    """The node that makes each tensor, by the tensor's name."""
    return {name: node for node in model.graph.node for name in node.output if name}


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
    """The initializer that a tensor is made from by conversions alone."""
    while name not in held:
        maker = makers.get(name)
        if maker is None or maker.op_type not in ("DequantizeLinear", "Cast", "QuantizeLinear"):
            return None
        name = maker.input[0]
    return name
