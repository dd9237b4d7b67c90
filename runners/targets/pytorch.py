"""PyTorch on the CPU or a GPU: what a server without another runtime sees."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from compress.onnx.fuse import fuse
from runners.measuring.machine import machine_fingerprint
from runners.measuring.process import measure_apart, threads_of
from runners.measuring.stopwatch import Timing
from runners.targets.profile import HardwareProfile
from runners.targets.target import Identity


class TorchDevice:
    """Measures ``torch.export`` programs.

    Raises:
        ValueError: the profile wants a GPU and there is none.
    """

    def __init__(self, profile: HardwareProfile) -> None:
        self.profile = profile
        if profile.device == "cuda" and not torch.cuda.is_available():
            raise ValueError(
                f"profile {profile.name!r} needs a CUDA GPU that this PyTorch ({torch.__version__}) can use; "
                "none was found"
            )

    def identity(self) -> Identity:
        """Version of PyTorch, threads, machine (the GPU's name where there is one)."""
        cuda = self.profile.device == "cuda"
        return Identity(
            runtime=f"torch-{self.profile.device}",
            runtime_version=torch.__version__,
            threads=threads_of(self.profile),
            machine=torch.cuda.get_device_name() if cuda else machine_fingerprint(),
        )

    def export(self, module: nn.Module, input_shape: tuple[int, ...], precision: str = "fp32") -> bytes:
        """The fused module as a ``torch.export`` program."""
        if precision != "fp32":
            raise ValueError(f"profile {self.profile.name!r} measures fp32, not {precision}")
        example = torch.zeros(self.profile.batch, *input_shape)
        file = io.BytesIO()
        try:
            with torch.no_grad():
                torch.export.save(torch.export.export(fuse(module), (example,)), file)
        except Exception as error:  # a user's module fails in whatever way it likes
            raise ValueError(f"cannot be exported: {str(error).strip().splitlines()[0]}") from error
        return file.getvalue()

    def measure(
        self, models: Sequence[bytes | Path], *, budget_s: float, precision: float = 0.01
    ) -> list[Timing]:
        """Times exported programs side by side in one process; on a GPU each run waits for its end."""
        command = ["-m", "runners.targets.torch_runs", "torch"]
        return measure_apart(command, models, self.profile, budget_s=budget_s, precision=precision)
