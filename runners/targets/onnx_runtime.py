"""ONNX Runtime on this machine's CPU, in a process of its own with its thread pinned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from runners.measuring import stopwatch
from runners.measuring.machine import machine_fingerprint
from runners.measuring.process import measure_apart, threads_of
from runners.measuring.stopwatch import Timing
from runners.targets.onnx_format import onnx_bytes
from runners.targets.profile import HardwareProfile
from runners.targets.target import Identity


class OnnxDevice:
    """Measures ONNX files; a file that brings the runtime down costs itself and no other.

    Raises:
        ValueError: onnxruntime is not installed.
    """

    def __init__(self, profile: HardwareProfile) -> None:
        self.profile = profile
        self._version = runtime_version("onnxruntime")

    def identity(self) -> Identity:
        """Version of the runtime, threads, machine."""
        return Identity(
            runtime="onnxruntime",
            runtime_version=self._version,
            threads=threads_of(self.profile),
            machine=machine_fingerprint(),
        )

    def export(self, module: nn.Module, input_shape: tuple[int, ...], precision: str = "fp32") -> bytes:
        """The module as ONNX; see ``onnx_bytes``."""
        return onnx_bytes(
            module,
            input_shape,
            batch=self.profile.batch,
            precision=precision,
            unsupported_operators=self.profile.unsupported_operators,
        )

    def measure(
        self, models: Sequence[bytes | Path], *, budget_s: float, precision: float = 0.01
    ) -> list[Timing]:
        """Times ONNX files, given as content or path, side by side in one process."""
        return measure_apart(
            [str(stopwatch.__file__)], models, self.profile, budget_s=budget_s, precision=precision
        )


def runtime_version(package: str, install: str = "") -> str:
    """The installed version of a runtime.

    Args:
        package: its name.
        install: what pip is to install for it, where that is not the package by its name.

    Raises:
        ValueError: it is not installed; the message says how to.
    """
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        command = f"pip install {install or package}"
        raise ValueError(f"this profile needs {package}; install it with: {command}") from None
