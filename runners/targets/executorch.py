"""ExecuTorch with the XNNPACK delegate on this machine's CPU; needs the executorch extra."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import torch
from torch import nn

from compress.onnx.fuse import fuse
from runners.measuring.machine import machine_fingerprint
from runners.measuring.process import measure_apart, threads_of
from runners.measuring.stopwatch import Timing
from runners.targets.onnx_runtime import runtime_version
from runners.targets.profile import HardwareProfile
from runners.targets.target import Identity


class ExecutorchDevice:
    """Measures ``.pte`` programs.

    Raises:
        ValueError: executorch is not installed.
    """

    def __init__(self, profile: HardwareProfile) -> None:
        self.profile = profile
        self._version = runtime_version("executorch", "'quarry-nas[executorch]'")

    def identity(self) -> Identity:
        """Version of the runtime, threads, machine."""
        return Identity(
            runtime="executorch-xnnpack",
            runtime_version=self._version,
            threads=threads_of(self.profile),
            machine=machine_fingerprint(),
        )

    def export(self, module: nn.Module, input_shape: tuple[int, ...], precision: str = "fp32") -> bytes:
        """The fused module as a ``.pte`` program; the portable kernels run what XNNPACK does not."""
        if precision != "fp32":
            raise ValueError(f"profile {self.profile.name!r} measures fp32, not {precision}")
        logging.getLogger("torchao").setLevel(logging.ERROR)  # of GPU libraries that are not there
        exir = import_module("executorch.exir")
        xnnpack = import_module("executorch.backends.xnnpack.partition.xnnpack_partitioner")
        example = torch.zeros(self.profile.batch, *input_shape)
        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")  # of deprecations inside the exporter
                program = torch.export.export(fuse(module), (example,))
                partitioner = xnnpack.XnnpackPartitioner()
                lowered = exir.to_edge_transform_and_lower(program, partitioner=[partitioner])
                return bytes(lowered.to_executorch().buffer)
        except Exception as error:  # a user's module fails in whatever way it likes
            raise ValueError(f"cannot be exported: {str(error).strip().splitlines()[0]}") from error

    def measure(
        self, models: Sequence[bytes | Path], *, budget_s: float, precision: float = 0.01
    ) -> list[Timing]:
        """Times programs side by side in one process."""
        command = ["-m", "runners.targets.torch_runs", "executorch"]
        return measure_apart(command, models, self.profile, budget_s=budget_s, precision=precision)
