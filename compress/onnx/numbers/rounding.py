"""Weights of few bits, layer by layer: rounding up or down as the layer's outputs say, and biases put right.

"Up or Down? Adaptive Rounding for Post-Training Quantization" (AdaRound; Nagel et al., ICML 2020), section 3,
each layer against its float outputs on its rounded float inputs; and the empirical bias correction of
"Data-Free Quantization Through Weight Equalization and Bias Correction" (Nagel et al., ICCV 2019), 4.2.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto
from torch import Tensor
from torch.nn import functional

from compress.onnx.layers import WeightedNode, attributes
from compress.onnx.numbers.integers import (
    Initializers,
    IntegerLayer,
    bias_of,
    integer_layers,
    set_bias,
    set_weight,
    spread,
    weight_scale,
)
from compress.onnx.taps import tapped

Rounding = Literal["nearest", "adaptive"]
_STRETCH = 1.2, -0.1  # of the sigmoid, so that both ends are reached
_WARM = 0.2  # share of the steps before the roundings are pushed to their ends
_BATCH = 32
_CONVOLUTIONS = {3: functional.conv1d, 4: functional.conv2d, 5: functional.conv3d}


def round_weights(
    source: ModelProto,
    model: ModelProto,
    images: NDArray[np.float32],
    *,
    bits: int,
    rounding: Rounding = "nearest",
    correct_bias: bool = False,
    steps: int = 500,
    seed: int = 0,
) -> tuple[str, ...]:
    """Puts other integers, and biases, into the layers of a quantized file, in place.

    Args:
        source: float file that it was quantized from.
        model: quantized file.
        images: calibration images, float32 (N, ...).
        bits: bits of a weight, 2 to 8. Fewer than 8 are stored in 8.
        rounding: way of rounding.
        correct_bias: whether what rounding moves the mean of each output channel by is taken from its bias.
        steps: optimizer steps for each layer, where rounding is adaptive.
        seed: seed of the images in each step.

    Returns:
        Names of the layers that could not be treated but by rounding to the nearest: their operator is none
        that is known here, or they have no bias to correct.
    """
    held, floats = Initializers(model), Initializers(source)
    left: list[str] = []
    layers = [one for one in integer_layers(model) if _float_name(one) in floats]
    known = [one for one in layers if _is_known(one.layer)]
    inputs = _inputs(source, [_source_of(one) for one in known], images)
    done: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}  # a layer may run twice
    for one in layers:
        weight = floats[_float_name(one)].astype(np.float64)
        per_channel = held[one.scale].size > 1
        scale = held[one.scale].astype(np.float64)
        if bits < 8:
            scale = weight_scale(weight, one.layer.output_axis, bits, per_channel=per_channel)
        most = 2 ** (bits - 1) - 1
        steps_of = weight / spread(scale, one.layer)
        given = inputs.get(_source_of(one))
        if one not in known or given is None:
            left.append(one.name)
            if bits < 8:
                set_weight(held, one, np.clip(np.rint(steps_of), -most, most), scale, layers)
            continue
        x, rounded_x = torch.from_numpy(given), torch.from_numpy(_rounded(held, one, given))
        if one.layer.weight in done:
            integers, scale = done[one.layer.weight]
        else:
            integers = np.clip(np.rint(steps_of), -most, most)
            if rounding == "adaptive":
                step = spread(scale, one.layer)
                integers = adaptive(one.layer, weight, step, x, rounded_x, most=most, steps=steps, seed=seed)
            if bits < 8 or rounding == "adaptive":
                set_weight(held, one, integers, scale, layers)
            done[one.layer.weight] = integers, scale
        if correct_bias:
            bias = bias_of(held, one)
            if bias is None:
                left.append(one.name)
                continue
            set_bias(
                held, one, bias + shift(one.layer, weight, integers * spread(scale, one.layer), x, rounded_x)
            )
    return tuple(dict.fromkeys(left))


def adaptive(
    layer: WeightedNode,
    weight: NDArray[Any],
    scale: NDArray[Any],
    x: Tensor,
    rounded_x: Tensor,
    *,
    most: int,
    steps: int,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Integers in [-most, most] with which a layer's outputs are nearest to its float ones.

    Each weight goes to the next step below or above. Where the nearest integers have the smaller error over
    all inputs, they are kept.

    Args:
        layer: the layer.
        weight: float weight.
        scale: steps, shaped to multiply it.
        x: float inputs (N, ...).
        rounded_x: those as the quantized file has them.
        most: largest integer.
        steps: optimizer steps.
        seed: seed of the inputs in each step.
    """
    generator = torch.Generator().manual_seed(seed)
    step = torch.from_numpy(scale).float()
    low = torch.from_numpy(np.floor(weight / scale)).float()
    rest = torch.from_numpy(weight / scale - np.floor(weight / scale)).float()
    width, least = _STRETCH
    logits = torch.logit(((rest - least) / width).clamp(1e-4, 1 - 1e-4)).requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=2e-2)
    with torch.no_grad():
        wanted = apply(layer, x, torch.from_numpy(weight).float())
        size = wanted.square().mean().clamp_min(1e-12)
    for index in range(steps):
        chosen = torch.randint(len(x), (min(_BATCH, len(x)),), generator=generator)
        up = (torch.sigmoid(logits) * width + least).clamp(0, 1)
        got = apply(layer, rounded_x[chosen], step * (low + up).clamp(-most, most))
        loss = (got - wanted[chosen]).square().mean() / size
        progress = index / steps
        if progress > _WARM:
            sharpness = 2 + 9 * (1 + np.cos(np.pi * (progress - _WARM) / (1 - _WARM)))  # 20 to 2
            loss = loss + 1e-3 * (1 - (2 * up - 1).abs().pow(sharpness)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        up = (torch.sigmoid(logits) * width + least) >= 0.5
        found = (low + up).clamp(-most, most)
        nearest = (low + (rest >= 0.5)).clamp(-most, most)
        errors = [(apply(layer, rounded_x, step * one) - wanted).square().mean() for one in (found, nearest)]
    best: NDArray[np.float64] = (found if errors[0] < errors[1] else nearest).double().numpy()
    return best


def shift(
    layer: WeightedNode, weight: NDArray[Any], rounded: NDArray[Any], x: Tensor, rounded_x: Tensor
) -> NDArray[np.float64]:
    """What to add to the bias of a layer, (outputs,), so that its mean outputs are the float ones."""
    with torch.no_grad():
        right = apply(layer, x, torch.from_numpy(weight).float()).double()
        got = apply(layer, rounded_x, torch.from_numpy(rounded).float()).double()
    axis = 1 if layer.node.op_type == "Conv" else right.ndim - 1
    others = [one for one in range(right.ndim) if one != axis]
    moved: NDArray[np.float64] = (right - got).mean(others).numpy()
    return moved


def apply(layer: WeightedNode, x: Tensor, weight: Tensor) -> Tensor:
    """Outputs of a layer without its bias."""
    if layer.node.op_type == "MatMul":
        return x @ weight
    given = attributes(layer.node)
    if layer.node.op_type == "Gemm":
        return functional.linear(x, weight if given.get("transB", 0) else weight.T)
    spatial = weight.ndim - 2
    pads = given.get("pads", [0] * (2 * spatial))
    sides = [pads[axis + end * spatial] for axis in reversed(range(spatial)) for end in (0, 1)]
    return _CONVOLUTIONS[weight.ndim](
        functional.pad(x, sides),
        weight,
        stride=tuple(given.get("strides", [1] * spatial)),
        dilation=tuple(given.get("dilations", [1] * spatial)),
        groups=given.get("group", 1),
    )


def _is_known(layer: WeightedNode) -> bool:
    given = attributes(layer.node)
    if layer.node.op_type == "Conv":
        return given.get("auto_pad", b"NOTSET") in (b"NOTSET", "NOTSET") and len(layer.shape) in _CONVOLUTIONS
    plain = given.get("alpha", 1.0) == 1.0 and not given.get("transA", 0)
    return layer.node.op_type == "MatMul" or (layer.node.op_type == "Gemm" and plain)


def _float_name(one: IntegerLayer) -> str:
    return one.layer.weight.removesuffix("_quantized")


def _source_of(one: IntegerLayer) -> str:
    """Name in the float file of what goes into a layer of the quantized one."""
    given = one.layer.node.input[0]
    for end in ("_DequantizeLinear_Output", "_QuantizeLinear_Input"):
        given = given.removesuffix(end)
    return given


def _inputs(
    source: ModelProto, names: Collection[str], images: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    """Float inputs of layers by name of the tensor, those that the float file has."""
    there = {entry.name for entry in source.graph.input} | {
        name for node in source.graph.node for name in node.output
    }
    found: dict[str, list[NDArray[np.float32]]] = {}
    for values in tapped(source, sorted(there.intersection(names)), images):
        for name, array in values.items():
            found.setdefault(name, []).append(array)
    return {name: np.concatenate(arrays) for name, arrays in found.items()}


def _rounded(held: Initializers, one: IntegerLayer, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Inputs as a quantized layer gets them."""
    if not one.input_scale:
        return x
    scale, zero = held[one.input_scale], held[one.input_zero]
    ends = np.iinfo(zero.dtype)
    steps = np.clip(np.rint(x / scale) + zero.astype(np.float32), ends.min, ends.max)
    rounded: NDArray[np.float32] = ((steps - zero.astype(np.float32)) * scale).astype(np.float32)
    return rounded
