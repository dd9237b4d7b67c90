"""The arithmetic of int8 weights: scales, rounding and back.

Symmetric, as ONNX Runtime quantizes weights: an integer in [-127, 127] times a scale, and no zero point
("Quantizing deep convolutional networks for efficient inference", Krishnamoorthi 2018, section 2.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST = 127
_SMALLEST_SCALE = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightScales:
    """Steps of a weight's integers.

    Attributes:
        scale: float32, (output channels,) or (1,) for one step for all.
    """

    scale: NDArray[np.float32]

    def broadcast(self, dimensions: int) -> NDArray[np.float32]:
        """The scales shaped to multiply a weight of that many dimensions, output channels first."""
        return self.scale.reshape(-1, *[1] * (dimensions - 1))


def weight_scales(weight: NDArray[np.floating[Any]], *, per_channel: bool) -> WeightScales:
    """The smallest steps with which no weight (outputs, ...) is clipped."""
    largest = np.abs(weight.astype(np.float32)).reshape(len(weight), -1).max(axis=1)
    if not per_channel:
        largest = largest.max(keepdims=True)
    return WeightScales(scale=np.maximum(largest / LARGEST, _SMALLEST_SCALE).astype(np.float32))


def quantize(weight: NDArray[np.floating[Any]], scales: WeightScales) -> NDArray[np.int8]:
    """The nearest integers, ties to even, int8 in the shape of the weight."""
    steps = np.rint(weight / scales.broadcast(weight.ndim))
    return np.clip(steps, -LARGEST, LARGEST).astype(np.int8)


def dequantize(integers: NDArray[np.int8], scales: WeightScales) -> NDArray[np.float32]:
    """The weights that integers stand for, float32."""
    return integers.astype(np.float32) * scales.broadcast(integers.ndim)
