"""Int8 as ONNX Runtime's documentation shows it: prepare the file, calibrate on images, quantize."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.onnx.export import INPUT_NAME
from results.files import write_atomic

BATCH = 32


class _Reader:
    """The calibration images, a batch at a time."""

    def __init__(self, images: NDArray[np.float32]) -> None:
        size = min(BATCH, len(images))
        self._batches: Iterator[NDArray[np.float32]] = iter(
            images[start : start + size] for start in range(0, len(images) - size + 1, size)
        )

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT_NAME: batch}


def quantize(source: Path, images: NDArray[np.float32], target: Path) -> None:
    """Writes an int8 version of a float file: QDQ, a scale for each channel of a weight, extremes as ranges.

    Args:
        source: float file.
        images: (N, C, H, W), prepared as for the network.
        target: int8 file.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        prepared, done = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(done),
            _Reader(images),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        write_atomic(target, done.read_bytes())
