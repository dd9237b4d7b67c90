# ruff: noqa: ARG002 - a fake target takes what a real one takes
"""A target for tests of compression: ONNX files on this machine, timed as a test says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from compress.candidate import Context
from compress.onnx.export import export_onnx
from compress.onnx.file import OnnxFile
from compress.target import Facts, OperatorTime
from results.timing import Timing

FACTS = Facts(
    profile="here",
    runtime="onnxruntime",
    runtime_version="1",
    threads=1,
    batch=1,
    machine="this one",
    format="onnx",
    precisions=("fp32", "int8"),
)


def around(median_ms: float, width_ms: float = 0.02) -> Timing:
    """A latency with an interval of that width."""
    return Timing(median_ms, median_ms - width_ms / 2, median_ms + width_ms / 2, repeats=9)


@dataclass(frozen=True, kw_only=True)
class FakeTarget:
    """Exports and runs ONNX files; latencies and operator times are made up."""

    facts: Facts = FACTS
    latency: Callable[[Path], Timing] = lambda file: around(1.0)
    outputs: Callable[[Path, NDArray[Any]], NDArray[Any]] = lambda file, images: OnnxFile(file)(images)
    times: Callable[[Path], tuple[OperatorTime, ...]] = lambda file: ()

    def export(
        self, network: nn.Module, input_shape: tuple[int, ...], path: Path, *, precision: str = "fp32"
    ) -> None:
        export_onnx(network, torch.zeros(2, *input_shape), path)

    def run(self, file: Path, images: NDArray[Any]) -> NDArray[Any]:
        return self.outputs(file, images)

    def measure(self, files: Sequence[Path], *, budget_s: float, half_width: float = 0.01) -> list[Timing]:
        return [self.latency(file) for file in files]

    def operator_times(self, file: Path, images: NDArray[Any]) -> tuple[OperatorTime, ...]:
        return self.times(file)


def trained_as_it_is(network: nn.Module, *, seed: int, epochs: int | None = None) -> nn.Module:
    """A training that changes nothing."""
    return network


def context(**changes: Any) -> Context:
    """A context for networks of (1, 4, 4) images whose score is the mean of the outputs."""
    made = Context(
        target=FakeTarget(),
        example=torch.zeros(1, 1, 4, 4),
        images=np.zeros((2, 1, 4, 4), np.float32),
        score=lambda outputs: float(outputs.mean()),
        calibration=np.zeros((8, 1, 4, 4), np.float32),
        finetune=trained_as_it_is,
        macs=lambda network: sum(p.numel() for p in network.parameters()),
        tolerance=0.02,
    )
    return replace(made, **changes)
