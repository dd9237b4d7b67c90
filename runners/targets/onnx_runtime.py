"""ONNX Runtime on this machine's CPU, in a process of its own with its thread pinned."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from torch import nn

from compress.onnx.times import operator_times
from compress.target import Facts, OperatorTime
from results.timing import Memory, Timing
from runners.measuring.machine import machine_fingerprint
from runners.measuring.memory import peak_of
from runners.measuring.process import measure_apart, threads_of
from runners.measuring.stopwatch import example_inputs, words_of
from runners.targets.hardware import HardwareProfile, only_in
from runners.targets.onnx_format import FORMAT, export_for, run_onnx, take_for
from runners.targets.registry import RUNTIMES


@RUNTIMES.register("onnxruntime")
class OnnxRuntimeTarget:
    """ONNX Runtime on this machine's CPU.

    A file that brings the runtime down costs itself and no other.

    Args:
        profile: what is common to all runtimes.
        options: session configuration entries of ONNX Runtime, such as ``session.intra_op.allow_spinning``.

    Raises:
        ValueError: onnxruntime is not installed, or the profile has a precision that it lacks.
    """

    def __init__(self, profile: HardwareProfile, *, options: dict[str, str] | None = None) -> None:
        only_in(profile, ("fp32", "int8"))
        self._profile, self._options = profile, options or {}
        self.facts = Facts(
            profile=profile.name,
            runtime="onnxruntime",
            runtime_version=runtime_version("onnxruntime"),
            threads=threads_of(profile),
            batch=profile.batch,
            machine=machine_fingerprint(),
            format=FORMAT,
            precisions=profile.precisions,
            float_thin=True,
        )

    def export(
        self, network: nn.Module, input_shape: tuple[int, ...], path: Path, *, precision: str = "fp32"
    ) -> None:
        """Writes an ONNX file; see ``export_for``."""
        export_for(self._profile, network, input_shape, path, precision, float_thin=self.facts.float_thin)

    def take_onnx(self, source: Path, path: Path, *, precision: str = "fp32") -> None:
        """Writes an ONNX file as one for this target."""
        take_for(self._profile, source, path, precision, float_thin=self.facts.float_thin)

    def run(self, file: Path, images: NDArray[Any]) -> NDArray[Any]:
        """Outputs of a file, run in this process."""
        return run_onnx(file, images, self.facts.threads)

    def measure(self, files: Sequence[Path], *, budget_s: float, half_width: float = 0.01) -> list[Timing]:
        """Times ONNX files side by side in processes of their own."""
        return measure_apart(
            ["-m", "runners.measuring.stopwatch"],
            files,
            self._profile,
            budget_s=budget_s,
            half_width=half_width,
            settings={"config": self._options},
        )

    def memory(self, file: Path) -> Memory:
        """Memory of a process of its own that runs a file."""
        return peak_of(
            "runners.measuring.stopwatch:onnx_load",
            file,
            self._profile,
            imports=("onnxruntime",),
            settings={"config": self._options},
        )

    def operator_times(self, file: Path, images: NDArray[Any] | None = None) -> tuple[OperatorTime, ...]:
        """Time by type of operator after ONNX Runtime's own fusions."""
        inputs = example_inputs(_session(file), self._profile.batch) if images is None else images
        return operator_times(file, inputs, runs=30, threads=self._profile.threads)


def _session(file: Path) -> Any:
    import onnxruntime

    try:
        return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's exception classes share no base but Exception
        raise ValueError(f"{file} cannot be loaded by ONNX Runtime: {words_of(error)}") from error


def runtime_version(package: str, install: str = "", *, least: str = "0") -> str:
    """The installed version of a runtime.

    Args:
        package: name of its package.
        install: what pip is to install for it, where that is not the package by its name.
        least: oldest version that will do.

    Raises:
        ValueError: it is not installed, or too old; the message says how to get it.
    """
    command = f"pip install --upgrade {install or package}"
    try:
        found = version(package)
    except PackageNotFoundError:
        raise ValueError(f"this profile needs {package}; install it with: {command}") from None
    if _numbers(found) < _numbers(least):
        raise ValueError(f"this profile needs {package} {least} or later, and {found} is here: {command}")
    return found


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers that a version begins with: ``1.24.0rc1`` gives 1, 24, 0."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, found.group().split("."))) if found else ()
