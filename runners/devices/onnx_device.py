"""ONNX Runtime on this machine's CPU, in a process of its own with its thread pinned."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from runners.devices import stopwatch
from runners.devices.device import Identity
from runners.devices.lock import device_lock
from runners.devices.machine import cores, machine_fingerprint
from runners.devices.onnx_format import onnx_bytes
from runners.devices.profile import HardwareProfile
from runners.devices.stopwatch import Timing, not_measured


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
            threads=self.profile.threads or len(cores()),
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
        if not models:
            return []
        with tempfile.TemporaryDirectory(prefix="quarry-") as name, device_lock("cpu"):
            folder = Path(name)
            paths = []
            for index, model in enumerate(models):
                path = model if isinstance(model, Path) else folder / f"{index}.onnx"
                if not isinstance(model, Path):
                    path.write_bytes(model)
                paths.append(str(path.resolve()))
            timings = self._run(folder, paths, budget_s, precision)
            if timings is not None:
                return timings
            alone = [self._run(folder, [path], budget_s / len(paths), precision) for path in paths]
        crashed = not_measured("failed", "the runtime crashed on this model")
        return [timings[0] if timings else crashed for timings in alone]

    def _run(
        self, folder: Path, paths: Sequence[str], budget_s: float, precision: float
    ) -> list[Timing] | None:
        """None where the process died."""
        job = {
            "models": list(paths),
            "threads": self.profile.threads or len(cores()),
            "batch": self.profile.batch,
            # The last core: systems give their interrupts to the first.
            "cores": cores()[-self.profile.threads :] if self.profile.threads else [],
            "config": dict(self.profile.options),
            "budget_s": budget_s,
            "precision": precision,
        }
        (folder / "job.json").write_text(json.dumps(job))
        result = folder / "result.json"
        result.unlink(missing_ok=True)
        command = [sys.executable, str(stopwatch.__file__), str(folder / "job.json"), str(result)]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        if process.returncode == 0 and result.exists():
            return read_timings(result)
        if process.returncode > 0:  # Python's own error, not a crash: the same for every model
            last = process.stderr.strip().splitlines()[-1:] or ["no message"]
            raise OSError(f"measuring on {self.profile.name!r} failed: {last[0]}")
        return None


def read_timings(path: Path) -> list[Timing]:
    """The timings that ``stopwatch.main`` wrote."""
    entries: list[dict[str, Any]] = json.loads(path.read_text())
    return [Timing(**entry) for entry in entries]


def runtime_version(package: str) -> str:
    """The installed version of a runtime.

    Raises:
        ValueError: it is not installed; the message says how to.
    """
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        raise ValueError(f"this profile needs {package}; install it with: pip install {package}") from None
