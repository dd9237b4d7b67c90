"""ExecuTorch with the XNNPACK delegate on this machine's CPU; needs the executorch extra."""

from __future__ import annotations

from runners.targets.apart_programs import PATIENCE_S, ProgramApartTarget
from runners.targets.hardware import HardwareProfile, only_in
from runners.targets.onnx_runtime import runtime_version
from runners.targets.registry import RUNTIMES


@RUNTIMES.register("executorch")
class ExecutorchTarget(ProgramApartTarget):
    """ExecuTorch with XNNPACK on this machine's CPU; files are ``.pte`` programs for the profile's batch.

    Args:
        profile: what is common to all runtimes.

    Raises:
        ValueError: executorch is not installed, or too old, or the profile has a precision that it lacks.
    """

    def __init__(self, profile: HardwareProfile) -> None:
        only_in(profile, ("fp32", "int8"))
        super().__init__(
            profile,
            calls="runners.targets.executorch_calls",
            runtime="executorch-xnnpack",
            version=runtime_version("executorch", "'quarry-nas[executorch]'", least="1.4"),
            format="pte",
            patience_s=PATIENCE_S,
        )
