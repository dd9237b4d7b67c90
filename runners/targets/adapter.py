"""A device as a ``compress.target.Target``, until devices are targets themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from compress.onnx.export import export_onnx
from compress.onnx.file import OnnxFile
from compress.onnx.times import operator_times
from compress.target import Facts, OperatorTime
from results.records import COMPUTED
from results.timing import Timing
from runners.targets.target import Device


class OnnxTarget:
    """A device that measures ONNX files.

    Args:
        device: What measures them.
    """

    def __init__(self, device: Device) -> None:
        identity, profile = device.identity(), device.profile
        self._device = device
        self.facts = Facts(
            profile=profile.name,
            runtime=identity.runtime,
            runtime_version=identity.runtime_version,
            threads=identity.threads,
            batch=profile.batch,
            machine=identity.machine,
            format="onnx",
            precisions=tuple(profile.precisions),
            computed=identity.runtime == COMPUTED,
        )

    def export(
        self, network: nn.Module, input_shape: tuple[int, ...], path: Path, *, precision: str = "fp32"
    ) -> None:
        """Writes a float ONNX file whose batch is free."""
        del precision
        export_onnx(network, torch.zeros(2, *input_shape), path)

    def run(self, file: Path, images: NDArray[Any]) -> NDArray[Any]:
        """Outputs of ONNX Runtime on this machine."""
        run = OnnxFile(file)
        return np.concatenate([run(images[start : start + 256]) for start in range(0, len(images), 256)])

    def measure(self, files: Sequence[Path], *, budget_s: float, half_width: float = 0.01) -> list[Timing]:
        """Timings of the device."""
        timings = self._device.measure(
            [file.read_bytes() for file in files], budget_s=budget_s, precision=half_width
        )
        return [
            Timing(one.median_ms, one.low_ms, one.high_ms, one.repeats, one.status, one.reason)
            for one in timings
        ]

    def operator_times(self, file: Path, images: NDArray[Any]) -> tuple[OperatorTime, ...]:
        """Time by operator in ONNX Runtime on this machine."""
        return tuple(
            OperatorTime(operator=one.operator, nodes=one.nodes, latency_ms=one.latency_ms)
            for one in operator_times(file, images)
        )
