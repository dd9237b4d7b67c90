"""A target whose ONNX files are those handed over, until one exporter writes these and what is timed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from compress.onnx.export import export_onnx
from compress.target import Facts, OperatorTime, Target
from results.timing import Timing


class OnnxTarget:
    """A target of ONNX files, with another exporter.

    Args:
        target: does all else.
    """

    def __init__(self, target: Target) -> None:
        self._target = target

    @property
    def facts(self) -> Facts:
        """The target's."""
        return self._target.facts

    def export(
        self, network: nn.Module, input_shape: tuple[int, ...], path: Path, *, precision: str = "fp32"
    ) -> None:
        """Writes a float ONNX file whose batch is free."""
        del precision
        export_onnx(network, torch.zeros(2, *input_shape), path)

    def run(self, file: Path, images: NDArray[Any]) -> NDArray[Any]:
        """Outputs of the target."""
        return self._target.run(file, images)

    def measure(self, files: Sequence[Path], *, budget_s: float, half_width: float = 0.01) -> list[Timing]:
        """Timings of the target."""
        return self._target.measure(files, budget_s=budget_s, half_width=half_width)

    def operator_times(self, file: Path, images: NDArray[Any] | None = None) -> tuple[OperatorTime, ...]:
        """Time by operator of the target."""
        return self._target.operator_times(file, images)
