"""ncnn on this machine's CPU; needs the ncnn extra."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from numpy.typing import NDArray

from runners.targets.apart import OnnxApartTarget
from runners.targets.hardware import HardwareProfile, only_in
from runners.targets.onnx_runtime import runtime_version
from runners.targets.registry import RUNTIMES


@RUNTIMES.register("ncnn")
class NcnnTarget(OnnxApartTarget):
    """ncnn on this machine's CPU; files are zips of ``model.param`` and ``model.bin``, made by pnnx.

    It takes images one by one: a batch is as many calls.

    Args:
        profile: what is common to all runtimes.

    Raises:
        ValueError: ncnn or pnnx is not installed, or too old, or the profile has a precision that it lacks.
    """

    def __init__(self, profile: HardwareProfile) -> None:
        only_in(profile, ("fp32", "bf16", "fp16"))
        extra = "'quarry-nas[ncnn]'"
        converter = runtime_version("pnnx", extra, least="20250101")
        runtime = runtime_version("ncnn", extra, least="1.0.20250101")
        super().__init__(
            profile,
            calls="runners.targets.ncnn_calls",
            runtime="ncnn",
            version=f"{runtime} (pnnx {converter})",
            format="zip",
        )

    def operator_times(self, file: Path, images: NDArray[Any] | None = None) -> NoReturn:
        """Refuses: ncnn as it is handed out counts no layers.

        Raises:
            ValueError: always.
        """
        del file, images
        raise ValueError("ncnn does not tell the time of single operators")
