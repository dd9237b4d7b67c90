"""ExecuTorch with the XNNPACK delegate on this machine's CPU; needs the executorch extra."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from compress.target import Facts, OperatorTime
from results.files import write_atomic
from results.timing import Timing
from runners.measuring.machine import machine_fingerprint
from runners.measuring.process import measure_apart, threads_of
from runners.targets.calls import in_calls
from runners.targets.hardware import HardwareProfile, only_in
from runners.targets.onnx_runtime import runtime_version
from runners.targets.pytorch import exported_program, refuse_precision
from runners.targets.registry import RUNTIMES
from runners.targets.torch_runs import executorch_method


@RUNTIMES.register("executorch")
class ExecutorchTarget:
    """ExecuTorch with XNNPACK on this machine's CPU; files are ``.pte`` programs for the profile's batch.

    Args:
        profile: what is common to all runtimes.

    Raises:
        ValueError: executorch is not installed, or the profile wants another precision than fp32.
    """

    def __init__(self, profile: HardwareProfile) -> None:
        self._profile = profile
        only_in(profile, ("fp32",))
        self.facts = Facts(
            profile=profile.name,
            runtime="executorch-xnnpack",
            runtime_version=runtime_version("executorch", "'quarry-nas[executorch]'"),
            threads=threads_of(profile),
            batch=profile.batch,
            machine=machine_fingerprint(),
            format="pte",
            precisions=profile.precisions,
        )

    def export(
        self, network: nn.Module, input_shape: tuple[int, ...], path: Path, *, precision: str = "fp32"
    ) -> None:
        """Writes the fused network as a ``.pte`` program; the portable kernels run what XNNPACK does not."""
        refuse_precision(self._profile, precision)
        logging.getLogger("torchao").setLevel(logging.ERROR)  # of GPU libraries that are not there
        exir = import_module("executorch.exir")
        xnnpack = import_module("executorch.backends.xnnpack.partition.xnnpack_partitioner")
        program = exported_program(network, (self._profile.batch, *input_shape), free_batch=False)
        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")  # of deprecations inside the exporter
                partitioner = xnnpack.XnnpackPartitioner()
                lowered = exir.to_edge_transform_and_lower(program, partitioner=[partitioner])
                content = bytes(lowered.to_executorch().buffer)
        except Exception as error:  # a user's module fails in whatever way it likes
            raise ValueError(f"cannot be exported: {str(error).strip().splitlines()[0]}") from error
        write_atomic(path, content)

    def run(self, file: Path, images: NDArray[Any]) -> NDArray[Any]:
        """Outputs of a program, run in this process."""
        try:
            method, shape = executorch_method(str(file))
        except Exception as error:  # whatever reading a foreign file raises
            raise ValueError(f"{file} cannot be loaded by ExecuTorch: {error}") from error
        return in_calls(lambda part: method(torch.from_numpy(part)).numpy(), images, shape[0])

    def measure(self, files: Sequence[Path], *, budget_s: float, half_width: float = 0.01) -> list[Timing]:
        """Times programs side by side in processes of their own."""
        command = ["-m", "runners.targets.torch_runs", "executorch"]
        return measure_apart(command, files, self._profile, budget_s=budget_s, half_width=half_width)

    def operator_times(self, file: Path, images: NDArray[Any] | None = None) -> tuple[OperatorTime, ...]:
        """Refuses: XNNPACK runs whole parts of a program as one.

        Raises:
            ValueError: always.
        """
        del file, images
        raise ValueError("ExecuTorch does not tell the time of single operators")
