"""Quantization-aware training with NNI's quantizer, and carrying what it learned into the int8 file.

"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference" (Jacob et
al., CVPR 2018), section 3. Weights are rounded for each output channel and symmetrically, so folding a
BatchNorm, which multiplies whole channels, commutes with the rounding: we train with the norms in place
where the paper folds them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from compress.plain import faithful_copy

Range = tuple[float, float]
_LAYERS = ("Conv1d", "Conv2d", "Linear")


@dataclass(frozen=True, slots=True, kw_only=True)
class AwareTraining:
    """A network that was trained with its rounding simulated.

    Attributes:
        network: a plain float module again.
        input_ranges: (low, high) of what goes into each layer, by the layer's name, as a moving average
            over training.
    """

    network: nn.Module
    input_ranges: dict[str, Range]


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


def train_aware(network: nn.Module, train: Callable[[nn.Module], nn.Module]) -> AwareTraining:
    """Trains a copy of a network with 8-bit weights and layer inputs simulated.

    Args:
        network: any module with convolutions or linear layers; it is left untouched.
        train: trains the module it is given **in place** and returns it: one around the copy, which computes
            in float32 under autocast too. A low learning rate suits.

    Raises:
        ValueError: there is nothing to quantize, or ``train`` returned another module or ran no image.
    """
    from nni.compression.quantization import QATQuantizer

    simulated = faithful_copy(network)
    if not any(type(module).__name__ in _LAYERS for module in simulated.modules()):
        raise ValueError(f"{type(network).__name__} has no layer to quantize ({', '.join(_LAYERS)})")
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
    exact = _InFloat32(simulated)
    if train(exact) is not exact:
        raise ValueError(
            "quantization-aware training needs a training function that trains the module it is given in "
            "place and returns it"
        )
    learned = quantizer.get_calibration_config()
    quantizer.unwrap_model()
    ranges = {
        layer: (float(seen["tracked_min"].min()), float(seen["tracked_max"].max()))
        for layer, targets in learned.items()
        for name, seen in targets.items()
        if name.startswith("_input_") and "tracked_min" in seen
    }
    if not ranges:
        raise ValueError("quantization-aware training saw no images: the training function ran no forward")
    return AwareTraining(network=simulated, input_ranges=ranges)


def tensor_ranges(path: Path, network: nn.Module, input_ranges: dict[str, Range]) -> dict[str, Range]:
    """Ranges by the names of tensors in an exported file, for ``quantize_static``.

    The exporter keeps the qualified names of most weights, which say which node is which layer. A linear
    layer on inputs of more than two dimensions is a MatMul with the transposed weight under another name,
    which its values tell. Where several layers read one tensor the widest range holds.

    Args:
        path: exported file.
        network: what it was exported from.
        input_ranges: (low, high) of what goes into each layer, by the layer's name.

    Raises:
        ValueError: a layer is not found in the file.
    """
    graph = onnx.load(str(path), load_external_data=False).graph
    held = {entry.name: entry for entry in graph.initializer}
    layers: dict[str, set[str]] = {
        layer: set() for layer in input_ranges
    }  # inputs by the layer that reads them
    for node in graph.node:
        for parameter in node.input[1:]:
            layer, _, kind = parameter.rpartition(".")
            if kind == "weight" and layer in layers:
                layers[layer].add(node.input[0])
    products = [node for node in graph.node if node.op_type == "MatMul" and node.input[1] in held]
    constants = {node.input[1]: numpy_helper.to_array(held[node.input[1]]) for node in products}
    for layer, inputs in layers.items():
        if not inputs:
            module: Any = network.get_submodule(layer)
            weight = module.weight.detach().cpu().float().numpy()
            inputs |= {
                node.input[0] for node in products if np.array_equal(constants[node.input[1]], weight.T)
            }
    if lost := [layer for layer, inputs in layers.items() if not inputs]:
        raise ValueError(
            f"the ranges learned for the inputs of {', '.join(lost)} have no tensor in the exported file, so "
            "they would be lost"
        )
    ranges: dict[str, Range] = {}
    for layer, inputs in layers.items():
        low, high = input_ranges[layer]
        for name in inputs:
            known = ranges.get(name, (low, high))
            ranges[name] = (min(low, known[0]), max(high, known[1]))
    return ranges
