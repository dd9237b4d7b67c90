"""LiteRT (TensorFlow Lite's successor) on this machine's CPU; needs the litert extra, and a converter."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from runners.measuring.apart import Apart
from runners.targets.apart_programs import PATIENCE_S, ProgramApartTarget
from runners.targets.hardware import HardwareProfile, only_in
from runners.targets.onnx_runtime import runtime_version
from runners.targets.registry import RUNTIMES

CONVERTER = "QUARRY_LITERT_PYTHON"
"""Environment variable that names the Python of the converter."""
HOW = (
    "litert-torch needs an environment of its own, as what it brings clashes with nni: python -m venv "
    "~/litert; ~/litert/bin/pip install litert-torch with the PyTorch that is here; export "
    f"{CONVERTER}=~/litert/bin/python"
)
"""How to get a converter, as commands."""


@RUNTIMES.register("litert")
class LitertTarget(ProgramApartTarget):
    """LiteRT with XNNPACK on this machine's CPU; files are ``.tflite`` for the profile's batch.

    Args:
        profile: what is common to all runtimes.
        converter: Python that has litert-torch; empty takes the one that QUARRY_LITERT_PYTHON names.

    Raises:
        ValueError: LiteRT or its converter is not there, or too old, or the profile has a precision that it
            lacks; says what to do.
    """

    def __init__(self, profile: HardwareProfile, *, converter: str = "") -> None:
        only_in(profile, ("fp32", "int8"))
        self._converter, converter_version = converter_of(converter)
        runtime = runtime_version("ai-edge-litert", "'quarry-nas[litert]'", least="2.0")
        super().__init__(
            profile,
            calls="runners.targets.litert_calls",
            runtime="litert",
            version=f"{runtime} (litert-torch {converter_version})",
            format="tflite",
            patience_s=PATIENCE_S,
        )

    def _made(self, source: Path, file: Path, precision: str) -> None:
        """Has the converter write a file.

        Raises:
            ValueError: it does not convert it.
        """
        try:
            self._converter.call("convert", source=str(source), file=str(file), precision=precision)
        except ValueError as error:
            raise ValueError(f"LiteRT's converter does not take it: {error}") from None


def converter_of(named: str = "") -> tuple[Apart, str]:
    """The converter, in its own Python, and its version.

    Args:
        named: Python that has it; empty takes the one of the environment variable.

    Raises:
        ValueError: none is named, or what is named is no Python that has litert-torch.
    """
    name = named or os.environ.get(CONVERTER, "")
    if not name:
        raise ValueError(f"this profile needs a converter for LiteRT. {HOW}")
    python = shutil.which(os.path.expanduser(name))
    if python is None:
        raise ValueError(f"the Python of LiteRT's converter, {name}, is no program. {HOW}")
    script = Path(__file__).with_name("litert_convert.py")
    # Alone: files beside it have the names of packages that the converter looks for.
    converter = Apart("litert-torch", patience_s=PATIENCE_S, program=[python, "-I", script])
    try:
        return converter, str(converter.call("version"))
    except ValueError as error:
        raise ValueError(f"{name} does not run LiteRT's converter: {error}. {HOW}") from None
