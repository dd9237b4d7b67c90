"""Quantization-aware training with NNI's quantizer, and carrying what it learned into the int8 file.

"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference" (Jacob et
al., CVPR 2018), section 3. Weights are rounded for each output channel and symmetrically, so folding a
BatchNorm, which multiplies whole channels, commutes with the rounding: we train with the norms in place
where the paper folds them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
from torch import nn

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


def train_aware(network: nn.Module, train: Callable[[nn.Module], nn.Module]) -> AwareTraining:
    """Trains a copy of a network with 8-bit weights and layer inputs simulated.

    Args:
        network: any module with convolutions or linear layers; it is left untouched.
        train: trains the module it is given **in place** and returns it. A low learning rate suits.

    Raises:
        ValueError: there is nothing to quantize, or ``train`` returned another module or ran no image.
    """
    from nni.compression.quantization import QATQuantizer

    simulated = copy.deepcopy(network)
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
    if train(simulated) is not simulated:
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


def tensor_ranges(path: Path, input_ranges: dict[str, Range]) -> dict[str, Range]:
    """Ranges by the names of tensors in an exported file, for ``quantize_static``.

    The exporter keeps the qualified names of weights, which say which node is which layer. Where several
    layers read one tensor the widest range holds.
    """
    ranges: dict[str, Range] = {}
    for node in onnx.load(str(path), load_external_data=False).graph.node:
        for parameter in node.input[1:]:
            layer, _, kind = parameter.rpartition(".")
            if kind == "weight" and layer in input_ranges:
                low, high = input_ranges[layer]
                known = ranges.get(node.input[0], (low, high))
                ranges[node.input[0]] = (min(low, known[0]), max(high, known[1]))
    return ranges
