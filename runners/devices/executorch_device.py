"""ExecuTorch with the XNNPACK delegate on this machine's CPU; needs the executorch extra."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from compress.fuse import fuse
from runners.devices.device import Identity
from runners.devices.lock import device_lock
from runners.devices.machine import machine_fingerprint
from runners.devices.onnx_device import runtime_version
from runners.devices.profile import HardwareProfile
from runners.devices.stopwatch import Timing, interleave, not_measured


class ExecutorchDevice:
    """Measures ``.pte`` programs in this process.

    Raises:
        ValueError: executorch is not installed.
    """

    def __init__(self, profile: HardwareProfile) -> None:
        self.profile = profile
        self._version = runtime_version("executorch")

    def identity(self) -> Identity:
        """Version of the runtime, threads, machine."""
        return Identity(
            runtime="executorch-xnnpack",
            runtime_version=self._version,
            threads=1,
            machine=machine_fingerprint(),
        )

    def export(self, module: nn.Module, input_shape: tuple[int, ...], precision: str = "fp32") -> bytes:
        """The fused module as a ``.pte`` program; the portable kernels run what XNNPACK does not."""
        exir = import_module("executorch.exir")
        xnnpack = import_module("executorch.backends.xnnpack.partition.xnnpack_partitioner")

        if precision != "fp32":
            raise ValueError(f"profile {self.profile.name!r} measures fp32, not {precision}")
        example = torch.zeros(self.profile.batch, *input_shape)
        try:
            program = torch.export.export(fuse(module), (example,))
            lowered = exir.to_edge_transform_and_lower(program, partitioner=[xnnpack.XnnpackPartitioner()])
            return bytes(lowered.to_executorch().buffer)
        except Exception as error:  # a user's module fails in whatever way it likes
            raise ValueError(f"cannot be exported: {str(error).strip().splitlines()[0]}") from error

    def measure(
        self, models: Sequence[bytes | Path], *, budget_s: float, precision: float = 0.01
    ) -> list[Timing]:
        """Times programs side by side."""
        runtime = import_module("executorch.runtime").Runtime.get()
        timings: list[Timing | None] = []
        runs = []
        with tempfile.TemporaryDirectory(prefix="quarry-") as folder, device_lock("cpu"):
            for index, model in enumerate(models):
                path = model if isinstance(model, Path) else Path(folder) / f"{index}.pte"
                if not isinstance(model, Path):
                    path.write_bytes(model)
                try:
                    runs.append(_run(runtime, path))
                    timings.append(None)
                except Exception as error:  # whatever loading a foreign program raises is its status
                    timings.append(not_measured("unsupported", str(error).strip().splitlines()[0]))
            measured = iter(interleave(runs, budget_s=budget_s, precision=precision))
        return [next(measured) if timing is None else timing for timing in timings]


def _run(runtime: Any, path: Path) -> Callable[[], object]:
    method = runtime.load_program(path).load_method("forward")
    shape = tuple(method.metadata.input_tensor_meta(0).sizes())
    images = torch.randn(shape)
    return lambda: method.execute([images])
