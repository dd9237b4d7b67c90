"""Runtimes of native code on this machine's CPU: whatever may crash is done in a process of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from compress.onnx.agreement import BATCHES, refuse_difference
from compress.target import Facts, OperatorTime
from results.files import write_atomic
from results.timing import Memory, Timing
from runners.measuring.apart import PATIENCE_S, Apart
from runners.measuring.machine import machine_fingerprint
from runners.measuring.memory import peak_of
from runners.measuring.process import measure_apart, threads_of
from runners.targets.calls import FREE
from runners.targets.hardware import HardwareProfile
from runners.targets.onnx_format import export_for, input_shape_of, run_onnx, take_for

_ROUNDING = {"fp32": 1e-3, "fp16": 0.02, "bf16": 0.1, "int8": 0.15}
"""Shares of the largest output that a file may be off by; another network is off by about all of it.

Winograd convolutions in float32 are off by half of that on small maps.
"""
_AT_ONCE = 2048  # images that a process is given in a call


class ApartTarget:
    """What a target does with files, in processes of their own; how it writes them is for its kind to say.

    Args:
        profile: what is common to all runtimes.
        calls: module with ``convert``, ``load``, ``run`` and ``operator_times``, as ``mnn_calls`` has them;
            without the first where a target has its own way to write files.
        runtime: library that runs the files.
        version: its version.
        format: file format.
        settings: what ``calls`` are given beside threads and batch.
        conversion: what ``convert`` is given beside source, file and precision.
        patience_s: seconds that a call may take.
    """

    def __init__(
        self,
        profile: HardwareProfile,
        *,
        calls: str,
        runtime: str,
        version: str,
        format: str,
        settings: Mapping[str, Any] | None = None,
        conversion: Mapping[str, Any] | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._profile, self._module = profile, calls
        self._settings, self._conversion = dict(settings or {}), dict(conversion or {})
        self._calls = Apart(calls, patience_s=patience_s)
        self.facts = Facts(
            profile=profile.name,
            runtime=runtime,
            runtime_version=version,
            threads=threads_of(profile),
            batch=profile.batch,
            machine=machine_fingerprint(),
            format=format,
            precisions=profile.precisions,
        )

    def run(self, file: Path, images: NDArray[Any]) -> NDArray[Any]:
        """Outputs of a file."""
        if not len(images):
            raise ValueError("there are no images to run")
        found = []
        with tempfile.TemporaryDirectory(prefix="quarry-") as folder:
            given, outputs = Path(folder) / "images.npy", Path(folder) / "outputs.npy"
            for start in range(0, len(images), _AT_ONCE):
                part = np.ascontiguousarray(images[start : start + _AT_ONCE], dtype=np.float32)
                np.save(given, part)
                size = min(FREE, len(part))
                self._call(file, "run", size, images=str(given), outputs=str(outputs))
                found.append(np.load(outputs))
        return np.concatenate(found)

    def measure(self, files: Sequence[Path], *, budget_s: float, half_width: float = 0.01) -> list[Timing]:
        """Times files side by side."""
        command = ["-m", "runners.measuring.apart", "time", self._module]
        return measure_apart(
            command,
            files,
            self._profile,
            budget_s=budget_s,
            half_width=half_width,
            settings=self._settings,
        )

    def memory(self, file: Path) -> Memory:
        """Memory of a process of its own that runs a file."""
        return peak_of(f"{self._module}:load", file, self._profile, settings=self._settings)

    def operator_times(self, file: Path, images: NDArray[Any] | None = None) -> tuple[OperatorTime, ...]:
        """Time by type of operator after the runtime's own fusions."""
        with tempfile.TemporaryDirectory(prefix="quarry-") as folder:
            given = ""
            if images is not None:
                given = str(Path(folder) / "images.npy")
                np.save(given, np.ascontiguousarray(images, dtype=np.float32))
            found = self._call(file, "operator_times", self._profile.batch, images=given)
        entries = [
            OperatorTime(operator=name, nodes=nodes, latency_ms=latency_ms)
            for name, nodes, latency_ms in found
        ]
        return tuple(sorted(entries, key=lambda entry: -entry.latency_ms))

    def _convert(
        self, source: Path, path: Path, precision: str, images: NDArray[np.float32], right: NDArray[Any]
    ) -> None:
        """Writes a file that is made, beside it, from another, and is run as well.

        Args:
            source: file to convert.
            path: file to write.
            precision: number format.
            images: what it is run on, (N, *input_shape).
            right: what the source gives for them, (N, ...).

        Raises:
            ValueError: it is not converted, does not run, or gives other outputs.
        """
        made = source.with_name(f"made.{self.facts.format}")
        self._made(source, made, precision)
        refuse_difference(self.run(made, images), right, len(images), _ROUNDING[precision])
        write_atomic(path, made.read_bytes())

    def _made(self, source: Path, file: Path, precision: str) -> None:
        """Converts a file.

        Raises:
            ValueError: the runtime does not convert it.
        """
        self._calls.call(
            "convert", source=str(source), file=str(file), precision=precision, **self._conversion
        )

    def _call(self, file: Path, function: str, batch: int, **arguments: Any) -> Any:
        try:
            return self._calls.call(
                function,
                file=str(file.resolve()),
                threads=self.facts.threads,
                batch=batch,
                **arguments,
                **self._settings,
            )
        except ValueError as error:
            raise ValueError(f"{file} does not run in {self.facts.runtime}: {error}") from None


class OnnxApartTarget(ApartTarget):
    """Files are converted from ONNX ones."""

    def export(
        self, network: nn.Module, input_shape: tuple[int, ...], path: Path, *, precision: str = "fp32"
    ) -> None:
        """Writes a file, which is compared with the network."""
        with tempfile.TemporaryDirectory(prefix="quarry-") as folder:
            source = Path(folder) / "model.onnx"
            export_for(self._profile, network, input_shape, source, "fp32")
            self._from(source, path, precision)

    def take_onnx(self, source: Path, path: Path, *, precision: str = "fp32") -> None:
        """Writes an ONNX file as one for this target."""
        with tempfile.TemporaryDirectory(prefix="quarry-") as folder:
            taken = Path(folder) / "model.onnx"
            take_for(self._profile, source, taken, "fp32")
            self._from(taken, path, precision)

    def _from(self, source: Path, path: Path, precision: str) -> None:
        """Converts a float ONNX file."""
        shape = (BATCHES[0], *input_shape_of(source.read_bytes()))
        images = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
        right = run_onnx(source, images)
        if not np.isfinite(right).all():  # as of a logarithm
            images = np.abs(images)
            right = run_onnx(source, images)
        self._convert(source, path, precision, images, right)
