"""Weights stored as a table and indices of 4 or 8 bits into it, computed in float.

ONNX Runtime makes floats of them when it loads a file (constants are folded), so such a file takes as long a
call and as much memory as before; loading takes longer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import nn

from compress.clusters.shared import Palette
from compress.onnx.layers import PALETTE, WeightedNode, nodes_of, weighted_nodes
from compress.onnx.numbers.storage import four_bits, with_four_bits
from results.files import write_atomic

_SAME = 1e-5  # difference of a weight from its table's, of the largest, that is rounding
_NODES = 600  # bytes of the nodes that make a weight


def store_palettes(
    path: Path, target: Path, network: nn.Module, palettes: Mapping[str, Palette]
) -> list[str]:
    """Writes a float file again with tables and indices in the place of weights, atomically.

    A norm that was folded into a layer has multiplied each output channel by a factor, so the factors of a
    channel are those that fit the file best. What is then not the file's weight stays float, as does a
    weight that is no smaller as a table.

    Args:
        path: float file.
        target: path of the smaller one.
        network: what it was exported from, with the weights that the tables give.
        palettes: tables and indices by the layer's name in the network.

    Returns:
        Names of the layers that are smaller now.

    Raises:
        ValueError: no weight is smaller that way, or an operator has no form in the version that four bits
            need.
    """
    model = onnx.load(str(path))
    if any(palette.entries <= 16 for palette in palettes.values()):
        model = with_four_bits(path, model)
    layers = {one.node.output[0]: one for one in weighted_nodes(model)}
    held = {entry.name: entry for entry in model.graph.initializer}
    done: dict[str, str] = {}
    for name, nodes in nodes_of(model, network, palettes).items():
        for layer in (layers[node.output[0]] for node in nodes if node.output[0] in layers):
            entry = held[layer.weight]
            whole = layer.node.input[1] == entry.name and entry.data_type == TensorProto.FLOAT
            if layer.weight in done or not whole:
                continue
            fitted = _fitted(numpy_helper.to_array(entry), layer, palettes[name])
            if fitted is None or _size(fitted) >= len(entry.raw_data):
                continue
            model.graph.initializer.remove(entry)
            _store(model, layer, fitted)
            done[layer.weight] = name
    if not done:
        raise ValueError(f"no weight of {path} is smaller as a table and indices")
    write_atomic(target, model.SerializeToString())
    return sorted(set(done.values()))


def _fitted(weight: NDArray[Any], layer: WeightedNode, palette: Palette) -> Palette | None:
    """The palette with the factors that a file's weight has; None where it is no such weight."""
    rows = np.moveaxis(weight, layer.output_axis, 0).astype(np.float64)
    rows = rows.reshape(len(rows), -1)
    base = replace(palette, factors=np.ones_like(palette.factors)).weight().astype(np.float64)
    if base.shape != rows.shape:
        return None
    factors = (rows * base).sum(axis=1) / np.maximum((base**2).sum(axis=1), 1e-30)
    if np.abs(rows - base * factors[:, None]).max() > _SAME * np.abs(rows).max():
        return None
    return replace(palette, factors=factors.astype(np.float32))


def _size(palette: Palette) -> int:
    bits = 4 if palette.entries <= 16 else 8
    return palette.indices.size * bits // 8 + palette.table.nbytes + palette.factors.nbytes + _NODES


def _store(model: ModelProto, layer: WeightedNode, palette: Palette) -> None:
    """Puts the constants and nodes that make a layer's weight into a file."""
    name, outputs = layer.weight, len(palette.factors)
    channel = [size for axis, size in enumerate(layer.shape) if axis != layer.output_axis]
    indices = f"{name}{PALETTE}"
    if palette.entries <= 16:
        packed = four_bits(indices, palette.indices)
    else:
        packed = numpy_helper.from_array(palette.indices, indices)
    constants = {
        "table": palette.table,
        "factors": palette.factors.reshape(-1, *[1] * len(channel)),
        "shape": np.array([outputs, *channel], np.int64),
    }
    steps: list[tuple[str, list[str], dict[str, Any]]] = [("Cast", [indices], {"to": TensorProto.INT32})]
    if palette.groups > 1:
        constants["offsets"] = palette.offsets.astype(np.int32)[:, None]
        steps.append(("Add", ["", "offsets"], {}))
    steps += [("Gather", ["table", ""], {}), ("Reshape", ["", "shape"], {}), ("Mul", ["", "factors"], {})]
    if layer.output_axis != 0:
        steps.append(("Transpose", [""], {"perm": [1, 0]}))
    model.graph.initializer.append(packed)
    for kind, values in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(values, f"{name}_{kind}"))
    made = indices
    for place, (operator, inputs, settings) in enumerate(steps):
        given = [made if not one else f"{name}_{one}" if one in constants else one for one in inputs]
        made = name if place == len(steps) - 1 else f"{name}_{operator}"
        node = helper.make_node(operator, given, [made], name=f"{name}_{operator}{PALETTE}", **settings)
        model.graph.node.insert(place, node)
    model.graph.value_info.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, layer.shape))
