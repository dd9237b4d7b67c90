"""A device: something that exports a module in its deployment format and measures such models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from runners.measuring.stopwatch import Timing
from runners.targets.profile import HardwareProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a table's figures hold for; another value in any field makes them stale.

    Attributes:
        runtime: name of the library that ran the models.
        runtime_version: of it.
        threads: it used.
        machine: processor, cores, architecture, system.
    """

    runtime: str
    runtime_version: str
    threads: int
    machine: str


class Device(Protocol):
    """What every backend offers."""

    profile: HardwareProfile

    def identity(self) -> Identity:
        """What its figures hold for."""
        ...

    def export(self, module: nn.Module, input_shape: tuple[int, ...], precision: str = "fp32") -> bytes:
        """A module in the deployment format.

        Raises:
            ValueError: it cannot be exported, or holds an operator the profile rules out.
        """
        ...

    def measure(self, models: Sequence[bytes], *, budget_s: float, precision: float = 0.01) -> list[Timing]:
        """Times exported models side by side; one timing each, a model that does not run is not ``measured``.

        Raises:
            OSError: the device is gone or busy.
        """
        ...


def open_device(profile: HardwareProfile) -> Device:
    """The device behind a profile.

    Raises:
        ValueError: its runtime is not installed or its hardware is not there; the message says what to do.
    """
    if profile.backend == "onnxruntime":
        from runners.targets.onnx_runtime import OnnxDevice

        return OnnxDevice(profile)
    if profile.backend == "torch":
        from runners.targets.pytorch import TorchDevice

        return TorchDevice(profile)
    if profile.backend == "executorch":
        from runners.targets.executorch import ExecutorchDevice

        return ExecutorchDevice(profile)
    if profile.backend == "remote":
        from runners.targets.remote import RemoteDevice

        return RemoteDevice(profile)
    from runners.targets.analytic import AnalyticDevice

    return AnalyticDevice(profile)
