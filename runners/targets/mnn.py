"""MNN on this machine's CPU; needs the mnn extra."""

from __future__ import annotations

from runners.targets.apart import OnnxApartTarget
from runners.targets.hardware import HardwareProfile, only_in
from runners.targets.onnx_runtime import runtime_version
from runners.targets.registry import RUNTIMES


@RUNTIMES.register("mnn")
class MnnTarget(OnnxApartTarget):
    """MNN on this machine's CPU; files are ``.mnn``, converted from ONNX.

    Below fp32 the weights are kept in fewer bits and computed with in float: smaller files, not faster ones.

    Args:
        profile: what is common to all runtimes.

    Raises:
        ValueError: MNN is not installed, or too old, or the profile has a precision that it lacks.
    """

    def __init__(self, profile: HardwareProfile) -> None:
        only_in(profile, ("fp32", "fp16", "int8"))
        super().__init__(
            profile,
            calls="runners.targets.mnn_calls",
            runtime="mnn",
            version=runtime_version("MNN", "'quarry-nas[mnn]'", least="3.0"),
            format="mnn",
        )
