"""OpenVINO on this machine's CPU; needs the openvino extra."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from runners.targets.apart import OnnxApartTarget
from runners.targets.hardware import HardwareProfile, only_in
from runners.targets.onnx_format import FORMAT, export_for, take_for
from runners.targets.onnx_runtime import runtime_version
from runners.targets.registry import RUNTIMES


@RUNTIMES.register("openvino")
class OpenvinoTarget(OnnxApartTarget):
    """OpenVINO on this machine's CPU; files are ONNX, which it reads as they are, quantized ones too.

    Args:
        profile: what is common to all runtimes.
        options: properties that a file is compiled with, such as ``ENABLE_CPU_PINNING``.

    Raises:
        ValueError: openvino is not installed, or too old, or the profile has a precision that it lacks.
    """

    def __init__(self, profile: HardwareProfile, *, options: dict[str, str] | None = None) -> None:
        only_in(profile, ("fp32", "bf16", "int8"))
        super().__init__(
            profile,
            calls="runners.targets.openvino_calls",
            runtime="openvino",
            version=runtime_version("openvino", "'quarry-nas[openvino]'", least="2025.1"),
            format=FORMAT,
            settings={"options": options or {}},
        )

    def export(
        self, network: nn.Module, input_shape: tuple[int, ...], path: Path, *, precision: str = "fp32"
    ) -> None:
        """Writes an ONNX file; see ``export_for``."""
        export_for(self._profile, network, input_shape, path, precision)

    def take_onnx(self, source: Path, path: Path, *, precision: str = "fp32") -> None:
        """Writes an ONNX file as one for this target."""
        take_for(self._profile, source, path, precision)
