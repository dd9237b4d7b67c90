"""The integers of a quantized file: layers whose weight, input and bias are whole numbers times scales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper

from compress.onnx.layers import WeightedNode, makers_of, weighted_nodes

_SMALLEST = float(np.finfo(np.float32).tiny)
_MOST_OF_BIAS = 2.0**30  # half of what 32 bits hold


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerLayer:
    """A layer with an integer weight, in a file with QuantizeLinear and DequantizeLinear.

    Attributes:
        layer: the node; its ``weight`` names the integers.
        scale: initializer with the weight's scales: one for each output channel, or one for all.
        input_scale: initializer with the scale of what goes in; empty where that is float.
        input_zero: initializer with the zero point of what goes in.
        bias: initializer with the bias in int32; empty where there is none.
        bias_scale: initializer with its scales.
    """

    layer: WeightedNode
    scale: str
    input_scale: str = ""
    input_zero: str = ""
    bias: str = ""
    bias_scale: str = ""

    @property
    def name(self) -> str:
        """Name of the layer."""
        return self.layer.name


def integer_layers(model: ModelProto) -> list[IntegerLayer]:
    """The layers of a file whose weight is dequantized from integers, in its order."""
    makers = makers_of(model)

    def behind(node: NodeProto, place: int) -> NodeProto | None:
        maker = makers.get(node.input[place]) if len(node.input) > place else None
        return maker if maker is not None and maker.op_type == "DequantizeLinear" else None

    found = []
    for layer in weighted_nodes(model):
        weight, given, bias = (behind(layer.node, place) for place in (1, 0, 2))
        if weight is None or weight.input[0] != layer.weight:
            continue
        found.append(
            IntegerLayer(
                layer=layer,
                scale=weight.input[1],
                input_scale=given.input[1] if given else "",
                input_zero=given.input[2] if given else "",
                bias=bias.input[0] if bias else "",
                bias_scale=bias.input[1] if bias else "",
            )
        )
    return found


class Initializers:
    """The constants of a file, to read and to change in place."""

    def __init__(self, model: ModelProto) -> None:
        self._entries = {entry.name: entry for entry in model.graph.initializer}

    def __getitem__(self, name: str) -> NDArray[Any]:
        return numpy_helper.to_array(self._entries[name])

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def put(self, name: str, values: NDArray[Any]) -> None:
        """Other values of the same type; the shape may change."""
        kind = self[name].dtype
        self._entries[name].CopyFrom(numpy_helper.from_array(np.asarray(values).astype(kind), name))


def spread(scale: NDArray[Any], layer: WeightedNode) -> NDArray[np.float64]:
    """Scales shaped to multiply the weight of a layer."""
    shape = [1] * len(layer.shape)
    shape[layer.output_axis] = -1
    return np.asarray(scale, np.float64).reshape(shape if np.size(scale) > 1 else [1] * len(layer.shape))


def set_weight(
    held: Initializers,
    one: IntegerLayer,
    integers: NDArray[Any],
    scale: NDArray[Any],
    layers: Sequence[IntegerLayer],
) -> None:
    """Puts other integers and scales into a file, and biases into the steps that go with them.

    A bias has 32 bits in steps of the input's scale times the weight's. Where the weights of a channel are so
    small that its bias would not fit, their scale is larger, as ONNX Runtime makes it.

    Args:
        held: constants of the file.
        one: the layer.
        integers: whole numbers in [-127, 127] in the shape of the weight.
        scale: float, in the shape of the scales that are there.
        layers: layers of the file; those with the same weight have their biases put right too.
    """
    readers = [layer for layer in layers if layer.scale == one.scale]
    biases = [(layer, bias) for layer in readers if (bias := bias_of(held, layer)) is not None]
    wide = np.maximum(np.asarray(scale, np.float64).reshape(-1), _SMALLEST)
    fits = wide
    for layer, bias in biases:
        least = np.abs(bias) / (_MOST_OF_BIAS * float(held[layer.input_scale]))
        fits = np.maximum(fits, least if wide.size > 1 else least.max())
    held.put(one.layer.weight, np.rint(integers * spread(wide / fits, one.layer)))
    held.put(one.scale, fits.reshape(held[one.scale].shape))
    for layer, bias in biases:
        step = held[layer.input_scale].astype(np.float64) * held[one.scale].astype(np.float64)
        wanted = held[layer.bias_scale].reshape(-1).shape
        held.put(layer.bias_scale, np.broadcast_to(step.reshape(-1), wanted))
        set_bias(held, layer, bias)


def set_bias(held: Initializers, one: IntegerLayer, bias: NDArray[np.float64]) -> None:
    """Puts a bias (outputs,) into a file, rounded to its steps."""
    steps = np.rint(bias / held[one.bias_scale].astype(np.float64))
    limit = 2**31 - 1
    held.put(one.bias, np.clip(steps, -limit, limit))


def bias_of(held: Initializers, one: IntegerLayer) -> NDArray[np.float64] | None:
    """The bias (outputs,) that the integers stand for; None where there is none."""
    if not one.bias:
        return None
    return held[one.bias].astype(np.float64) * held[one.bias_scale].astype(np.float64)


def weight_scale(weight: NDArray[Any], axis: int, bits: int, *, per_channel: bool) -> NDArray[np.float64]:
    """Scales of a weight for symmetric integers of a number of bits, (channels,) or ().

    From 8 bits on no weight is clipped; below, the scale is the one with the least squared error.
    """
    rows = np.moveaxis(np.asarray(weight, np.float64), axis, 0).reshape(weight.shape[axis], -1)
    rows = rows if per_channel else rows.reshape(1, -1)
    most = 2 ** (bits - 1) - 1
    largest = np.maximum(np.abs(rows).max(axis=1), _SMALLEST)
    best, scale = np.full(len(rows), np.inf), largest / most
    if bits < 8:
        for share in np.linspace(1.0, 0.3, 36):
            tried = share * largest / most
            rounded = np.clip(np.rint(rows / tried[:, None]), -most, most) * tried[:, None]
            error = ((rows - rounded) ** 2).sum(axis=1)
            scale = np.where(error < best, tried, scale)
            best = np.minimum(best, error)
    return scale if per_channel else scale[0]


def put_integers(
    source: ModelProto, model: ModelProto, known: Mapping[str, NDArray[Any]], *, most: int = 127
) -> None:
    """Puts known whole numbers into a quantized file, with the scales that its float weights have in them.

    A norm that was folded into a layer has multiplied each channel by a factor, perhaps below zero; so the
    scale of a channel is what fits its weights best.

    Args:
        source: float file that it was quantized from.
        model: quantized file, changed in place.
        known: whole numbers in [-127, 127] by name of the layer in the file, output channels first.
        most: largest number that the file may have; layers with a larger one stay as they are quantized.
    """
    held, floats = Initializers(model), Initializers(source)
    layers = integer_layers(model)
    for one in layers:
        name = one.layer.weight.removesuffix("_quantized")
        whole = known.get(one.name)
        if whole is None or name not in floats or held[one.scale].size == 1 < one.layer.outputs:
            continue
        weight = np.moveaxis(floats[name].astype(np.float64), one.layer.output_axis, 0)
        if weight.shape != whole.shape or np.abs(whole).max() > most:
            continue
        rows, wanted = weight.reshape(len(weight), -1), whole.reshape(len(whole), -1).astype(np.float64)
        fitted = (rows * wanted).sum(axis=1) / np.maximum((wanted**2).sum(axis=1), 1.0)
        signed = wanted * np.where(fitted < 0, -1, 1)[:, None]
        integers = np.moveaxis(signed.reshape(weight.shape), 0, one.layer.output_axis)
        set_weight(held, one, integers, np.abs(fitted), layers)
