"""Weights stored in fewer bits and computed in float: fp16, bf16 and int4, for files that have to be small.

The runtime turns fp16 and bf16 into float32 when it loads a file, so such a file is as fast as it was. Int4
is DequantizeLinear with a scale for each output channel of a convolution, or for each block of numbers that a
product sums over, which ONNX Runtime makes one operator of (``MatMulNBits``, with its inputs in 8 bits).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, version_converter

from compress.onnx.layers import WeightedNode, weighted_nodes
from compress.onnx.numbers.integers import weight_scale
from results.files import write_atomic
from results.names import unknown

Storage = Literal["fp16", "bf16", "int4"]
STORAGES: tuple[Storage, ...] = ("fp16", "bf16", "int4")
BLOCK = 32
_OPSET, _IR = 21, 10  # the first with int4
_LEAST = 256  # numbers in a weight that is worth a node of its own
_FLOATS = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}


def store_weights(path: Path, target: Path, storage: Storage, *, block: int = BLOCK) -> tuple[str, ...]:
    """Writes a float file again with smaller weights, atomically.

    Args:
        path: float file.
        target: path of the smaller one.
        storage: format of the weights.
        block: numbers with one scale, in products in int4: a power of two from 16 on.

    Returns:
        Names of the layers whose weights are smaller now.

    Raises:
        ValueError: no such format, no float weights, numbers that fp16 does not hold, or operators that have
            no form in the version that int4 needs.
    """
    if storage not in STORAGES:
        raise ValueError(unknown("storage of weights", storage, STORAGES))
    if block < 16 or block & (block - 1):
        raise ValueError(f"a block is a power of two from 16 on, not {block}")
    model = onnx.load(str(path))
    if storage == "int4":
        model = with_four_bits(path, model)
    held = {entry.name: entry for entry in model.graph.initializer}
    done: dict[str, str] = {}
    nodes: list[NodeProto] = []
    for layer in weighted_nodes(model):
        entry = held[layer.weight]
        if layer.weight in done or entry.data_type != TensorProto.FLOAT or int(np.prod(layer.shape)) < _LEAST:
            continue
        weight = numpy_helper.to_array(entry)
        nodes.append(
            _int4(model, layer, weight, block) if storage == "int4" else _half(model, layer, weight, storage)
        )
        model.graph.initializer.remove(entry)
        done[layer.weight] = layer.name
    if not done:
        raise ValueError(f"{path} has no float weights to store as {storage}")
    for place, node in enumerate(nodes):
        model.graph.node.insert(place, node)
    write_atomic(target, model.SerializeToString())
    return tuple(done.values())


def with_four_bits(path: Path, model: ModelProto) -> ModelProto:
    """A file with operators of a version that has int4: those of an older one may mean other things.

    Raises:
        ValueError: an operator has no form in that version.
    """
    version = next(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))
    if version < _OPSET:
        try:
            model = version_converter.convert_version(model, _OPSET)
        except Exception as error:  # onnx has no exception class of its own for what it refuses
            raise ValueError(f"{path} cannot be brought to opset {_OPSET} for int4: {error}") from error
    model.ir_version = max(model.ir_version, _IR)
    return model


def _half(model: ModelProto, layer: WeightedNode, weight: NDArray[Any], storage: Storage) -> NodeProto:
    kind, name = _FLOATS[storage], f"{layer.weight}_{storage}"
    most = float(np.abs(weight).max())
    if storage == "fp16" and most > float(np.finfo(np.float16).max):
        raise ValueError(f"{layer.name} has a weight of {most:.3g}, more than fp16 holds; bf16 does")
    made = numpy_helper.from_array(weight.astype(helper.tensor_dtype_to_np_dtype(kind)), name)
    model.graph.initializer.append(made)
    return helper.make_node("Cast", [name], [layer.weight], name=f"{name}_cast", to=TensorProto.FLOAT)


def _int4(model: ModelProto, layer: WeightedNode, weight: NDArray[Any], block: int) -> NodeProto:
    name = f"{layer.weight}_int4"
    settings: dict[str, int] = {"axis": layer.output_axis}
    if layer.node.op_type in ("Gemm", "MatMul") and len(layer.shape) == 2:
        settings = {"axis": 1 - layer.output_axis, "block_size": block}
        scale = block_scales(np.moveaxis(weight, layer.output_axis, 0), block)  # (outputs, blocks)
        each = np.repeat(scale, block, axis=1)[:, : layer.shape[1 - layer.output_axis]]
        scale, each = (np.moveaxis(one, 0, layer.output_axis) for one in (scale, each))
    else:
        scale = weight_scale(weight, layer.output_axis, 4, per_channel=True)
        shape = [1] * weight.ndim
        shape[layer.output_axis] = -1
        each = scale.reshape(shape)
    integers = np.clip(np.rint(weight / each), -7, 7).astype(np.int8)
    model.graph.initializer.extend(
        [
            four_bits(name, integers),
            numpy_helper.from_array(scale.astype(np.float32), f"{name}_scale"),
        ]
    )
    return helper.make_node(
        "DequantizeLinear", [name, f"{name}_scale"], [layer.weight], name=f"{name}_dequantize", **settings
    )


def four_bits(name: str, values: NDArray[Any]) -> TensorProto:
    """A constant of a file in four bits a number: int4 of int8 values and uint4 of uint8 ones."""
    kind = TensorProto.INT4 if values.dtype == np.int8 else TensorProto.UINT4
    return numpy_helper.from_array(values.astype(helper.tensor_dtype_to_np_dtype(kind)), name)


def block_scales(weight: NDArray[Any], block: int) -> NDArray[np.float64]:
    """Scales (outputs, blocks) of a matrix (outputs, inputs) whose last block may be shorter."""
    count = -(-weight.shape[1] // block)
    padded = np.zeros((len(weight), count * block))
    padded[:, : weight.shape[1]] = weight
    return weight_scale(padded.reshape(-1, block), 0, 4, per_channel=True).reshape(-1, count)
