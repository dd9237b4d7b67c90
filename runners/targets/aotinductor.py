"""AOTInductor on this machine's CPU: ``torch.export`` programs compiled beforehand; needs a C++ compiler."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import torch

from runners.measuring.process import threads_of
from runners.targets.apart_programs import PATIENCE_S, ProgramApartTarget
from runners.targets.hardware import HardwareProfile, only_in
from runners.targets.registry import RUNTIMES


@RUNTIMES.register("aotinductor")
class AotInductorTarget(ProgramApartTarget):
    """AOTInductor on this machine's CPU; files are ``.pt2`` packages of native code for the profile's batch.

    A package runs on processors that have the instructions of this one.

    Args:
        profile: what is common to all runtimes.

    Raises:
        ValueError: there is no C++ compiler, or the profile wants another precision than fp32.
    """

    def __init__(self, profile: HardwareProfile) -> None:
        only_in(profile, ("fp32",))
        super().__init__(
            profile,
            calls="runners.targets.aotinductor_calls",
            runtime="aotinductor",
            version=f"{torch.__version__} ({compiler()})",
            format="pt2",
            conversion={"threads": threads_of(profile)},
            patience_s=PATIENCE_S,
        )


def compiler() -> str:
    """The C++ compiler that PyTorch takes, with its version: ``g++ 12.2.0``.

    Raises:
        ValueError: there is none; says how to get one, and what does without.
    """
    name = os.environ.get("CXX") or "g++"
    found = shutil.which(name)
    said = found and subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    if not said or said.returncode:
        raise ValueError(
            f"AOTInductor needs a C++ compiler, and {name} cannot be run: install one (apt install g++) or "
            "name one in the environment variable CXX. Profile cpu-torch runs torch.export programs without"
        )
    version = re.search(r"\d+(\.\d+)+", said.stdout)
    return f"{os.path.basename(name)} {version.group() if version else ''}".strip()
