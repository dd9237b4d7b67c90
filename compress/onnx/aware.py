"""Quantization-aware training, by NNI's quantizer, LSQ or DoReFa, and carrying what it learned into the file.

"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference" (Jacob et
al., CVPR 2018), section 3. Weights are rounded for each output channel and symmetrically, so folding a
BatchNorm, which multiplies whole channels, commutes with the rounding: we train with the norms in place
where the paper folds them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto
from torch import Tensor, nn

from compress.onnx.fuse import rescaled_linears
from compress.onnx.layers import nodes_of, weighted_nodes
from compress.onnx.numbers.ranges import Range
from compress.onnx.numbers.simulated import settle, simulate
from compress.plain import faithful_copy, plain_copy
from results.names import unknown

AwareMethod = Literal["ranges", "lsq", "dorefa"]
AWARE_METHODS: tuple[AwareMethod, ...] = ("ranges", "lsq", "dorefa")
_NO_IMAGES = "quantization-aware training saw no images: the training function ran no forward"
_LAYERS = ("Conv1d", "Conv2d", "Linear")


@dataclass(frozen=True, slots=True, kw_only=True)
class AwareTraining:
    """A network that was trained with its rounding simulated.

    Of linear layers that a norm before them is folded into when they are exported nothing is known: the file
    has neither the inputs nor the weights that were trained, but these times a factor for each channel.

    Attributes:
        network: a plain float module again.
        input_ranges: (low, high) of what goes into each layer, by the layer's name, as a moving average
            over training, or as it was learned.
        integers: whole numbers that the weights of layers are multiples of, channel by channel, by the
            layer's name, where the method knows them.
    """

    network: nn.Module
    input_ranges: dict[str, Range]
    integers: dict[str, NDArray[np.int32]] = field(default_factory=dict)


class _InFloat32(nn.Module):
    """A network that computes in its own number format under autocast too.

    The mantissa of bf16 has 8 bits, no more than what is simulated, and a moving average that is kept in it
    stands still: the ranges would be several percent off.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):
            outputs: Tensor = self.network(images)
        return outputs


def train_aware(
    network: nn.Module,
    train: Callable[[nn.Module], nn.Module],
    *,
    method: AwareMethod = "ranges",
    weight_bits: int = 8,
    input_bits: int = 8,
    gradient_bits: int | None = None,
) -> AwareTraining:
    """Trains a copy of a network with weights and layer inputs of few bits simulated.

    Args:
        network: any module with convolutions or linear layers; it is left untouched.
        train: trains the module it is given **in place** and returns it: one around the copy, which computes
            in float32 under autocast too. A low learning rate suits.
        method: way of rounding: ``ranges`` (moving averages of extremes, by NNI), ``lsq``, ``dorefa``.
        weight_bits: bits of a weight; 1 is for ``dorefa``. The first and the last layer have 8.
        input_bits: bits of what goes into a layer, likewise.
        gradient_bits: bits of gradients, for ``dorefa``; None leaves them alone.

    Raises:
        ValueError: there is nothing to quantize, the method does not take such bits, or ``train`` returned
            another module or ran no image.
    """
    if not any(type(module).__name__ in _LAYERS for module in network.modules()):
        raise ValueError(f"{type(network).__name__} has no layer to quantize ({', '.join(_LAYERS)})")
    refuse_bits(method, weight_bits, input_bits, gradient_bits)
    if method == "ranges":
        return _train_by_ranges(network, train)
    simulated = plain_copy(network)
    layers = simulate(
        simulated,
        (nn.Conv1d, nn.Conv2d, nn.Linear),
        method,
        weight_bits=weight_bits,
        input_bits=input_bits,
        gradient_bits=gradient_bits,
    )
    _in_place(train, simulated)
    return _learned(simulated, *settle(layers))


def _learned(
    network: nn.Module, ranges: dict[str, Range], integers: dict[str, NDArray[np.int32]]
) -> AwareTraining:
    if not ranges:
        raise ValueError(_NO_IMAGES)
    rescaled = rescaled_linears(network)
    return AwareTraining(
        network=network,
        input_ranges={name: ends for name, ends in ranges.items() if name not in rescaled},
        integers={name: whole for name, whole in integers.items() if name not in rescaled},
    )


def refuse_bits(method: AwareMethod, weight_bits: int, input_bits: int, gradient_bits: int | None) -> None:
    """Raises a ValueError where a method does not take such numbers of bits."""
    if method not in AWARE_METHODS:
        raise ValueError(unknown("method of quantization-aware training", method, AWARE_METHODS))
    least = 1 if method == "dorefa" else 2
    if not least <= weight_bits <= 8 or not 1 <= input_bits <= 8:
        raise ValueError(
            f"{method} takes weights of {least} to 8 bits and inputs of 1 to 8, not {weight_bits} and "
            f"{input_bits}"
        )
    if method == "ranges" and (weight_bits, input_bits) != (8, 8):
        raise ValueError("the method ranges has 8 bits for weights and inputs; lsq and dorefa take fewer")
    if gradient_bits is not None and method != "dorefa":
        raise ValueError("gradients of few bits are a part of dorefa alone")


def _in_place(train: Callable[[nn.Module], nn.Module], simulated: nn.Module) -> None:
    exact = _InFloat32(simulated)
    if train(exact) is not exact:
        raise ValueError(
            "quantization-aware training needs a training function that trains the module it is given in "
            "place and returns it"
        )


def _train_by_ranges(network: nn.Module, train: Callable[[nn.Module], nn.Module]) -> AwareTraining:
    from nni.compression.quantization import QATQuantizer

    simulated = faithful_copy(network)
    weight = {"quant_dtype": "int8", "quant_scheme": "symmetric", "granularity": "out_channel"}
    inputs = {"quant_dtype": "uint8", "quant_scheme": "affine", "granularity": "default"}
    quantizer = QATQuantizer(
        simulated,
        [
            {
                "op_types": list(_LAYERS),
                "quant_dtype": "int8",
                "target_names": ["weight", "_input_"],
                "target_settings": {"weight": weight, "_input_": inputs},
            }
        ],
        None,  # NNI's evaluator would bring a training loop; ours is passed in
    )
    _in_place(train, simulated)
    learned = quantizer.get_calibration_config()
    quantizer.unwrap_model()
    ranges = {
        layer: (float(seen["tracked_min"].min()), float(seen["tracked_max"].max()))
        for layer, targets in learned.items()
        for name, seen in targets.items()
        if name.startswith("_input_") and "tracked_min" in seen
    }
    return _learned(simulated, ranges, {})


def tensor_ranges(path: Path, network: nn.Module, input_ranges: dict[str, Range]) -> dict[str, Range]:
    """Ranges by the names of tensors in an exported file, for ``quantize_static``.

    Where several layers read one tensor the widest range holds.

    Args:
        path: exported file.
        network: what it was exported from.
        input_ranges: (low, high) of what goes into each layer, by the layer's name.

    Raises:
        ValueError: a layer is not found in the file.
    """
    ranges: dict[str, Range] = {}
    for layer, nodes in _found(_graph(path), network, input_ranges).items():
        low, high = input_ranges[layer]
        for node in nodes:
            known = ranges.get(node.input[0], (low, high))
            ranges[node.input[0]] = (min(low, known[0]), max(high, known[1]))
    return ranges


def integers_in_file(
    path: Path, network: nn.Module, integers: dict[str, NDArray[np.int32]]
) -> dict[str, NDArray[np.int32]]:
    """Whole numbers by the names that layers have in an exported file, for ``quantize_static``.

    Args:
        path: exported file.
        network: what it was exported from.
        integers: whole numbers of the weights, by the layer's name in the network.

    Raises:
        ValueError: a layer is not found in the file.
    """
    model = _graph(path)
    names = {one.node.output[0]: one.name for one in weighted_nodes(model)}
    return {
        names[node.output[0]]: integers[layer]
        for layer, nodes in _found(model, network, integers).items()
        for node in nodes
    }


def _graph(path: Path) -> ModelProto:
    return onnx.load(str(path), load_external_data=False)


def _found(model: ModelProto, network: nn.Module, names: Collection[str]) -> dict[str, list[NodeProto]]:
    layers = nodes_of(model, network, names)
    if lost := [layer for layer, nodes in layers.items() if not nodes]:
        raise ValueError(
            f"what was learned for {', '.join(lost)} has no layer in the exported file, so it would be lost"
        )
    return layers
