"""The target behind a hardware profile; importing this makes the runtimes that ship with Quarry known."""

from __future__ import annotations

from compress.target import Target
from results.loading import load_module
from runners.targets import (
    analytic,
    aotinductor,
    executorch,
    litert,
    mnn,
    ncnn,
    onnx_runtime,
    openvino,
    pytorch,
    remote,
)
from runners.targets.hardware import HardwareProfile
from runners.targets.registry import RUNTIMES

SHIPPED = (analytic, aotinductor, executorch, litert, mnn, ncnn, onnx_runtime, openvino, pytorch, remote)
"""Modules that each register one runtime."""


def open_target(profile: HardwareProfile) -> Target:
    """The target that a profile describes.

    Raises:
        ValueError: its runtime is unknown, not installed, or its hardware is not there; says what to do.
        FileNotFoundError: a file of its ``parts`` is not there.
    """
    for part in profile.parts:
        load_module(part)
    return RUNTIMES.configured(profile.runtime.kind, profile.runtime.settings)(profile)
