"""PyTorch on the CPU or a GPU: what a server without another runtime sees."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from compress.fuse import fuse
from runners.devices.device import Identity
from runners.devices.lock import device_lock
from runners.devices.machine import cores, machine_fingerprint
from runners.devices.profile import HardwareProfile
from runners.devices.stopwatch import Timing, interleave, not_measured


class TorchDevice:
    """Measures ``torch.export`` programs in this process.

    Raises:
        ValueError: the profile wants a GPU and there is none.
    """

    def __init__(self, profile: HardwareProfile) -> None:
        self.profile = profile
        if profile.device == "cuda" and not torch.cuda.is_available():
            raise ValueError(
                f"profile {profile.name!r} needs a CUDA GPU that this PyTorch ({torch.__version__}) can use; "
                "none was found"
            )

    def identity(self) -> Identity:
        """Version of PyTorch, threads, machine (the GPU's name where there is one)."""
        cuda = self.profile.device == "cuda"
        return Identity(
            runtime=f"torch-{self.profile.device}",
            runtime_version=torch.__version__,
            threads=self._threads(),
            machine=torch.cuda.get_device_name() if cuda else machine_fingerprint(),
        )

    def export(self, module: nn.Module, input_shape: tuple[int, ...], precision: str = "fp32") -> bytes:
        """The fused module as a ``torch.export`` program."""
        if precision != "fp32":
            raise ValueError(f"profile {self.profile.name!r} measures fp32, not {precision}")
        example = torch.zeros(self.profile.batch, *input_shape)
        file = io.BytesIO()
        try:
            with torch.no_grad():
                torch.export.save(torch.export.export(fuse(module), (example,)), file)
        except Exception as error:  # a user's module fails in whatever way it likes
            raise ValueError(f"cannot be exported: {str(error).strip().splitlines()[0]}") from error
        return file.getvalue()

    def measure(
        self, models: Sequence[bytes | Path], *, budget_s: float, precision: float = 0.01
    ) -> list[Timing]:
        """Times exported programs side by side; on a GPU each run waits for its end."""
        timings: list[Timing | None] = []
        runs = []
        with device_lock(self.profile.device), _threads(self._threads()), torch.no_grad():
            for model in models:
                try:
                    runs.append(self._run(model))
                    timings.append(None)
                except Exception as error:  # whatever loading a foreign program raises is its status
                    timings.append(not_measured("unsupported", str(error).strip().splitlines()[0]))
            measured = iter(interleave(runs, budget_s=budget_s, precision=precision))
        return [next(measured) if timing is None else timing for timing in timings]

    def _run(self, model: bytes | Path) -> Callable[[], object]:
        program = torch.export.load(io.BytesIO(model) if isinstance(model, bytes) else model)
        (example,), _ = program.example_inputs
        module = program.module().to(self.profile.device)
        images = torch.randn(example.shape, device=self.profile.device)
        if self.profile.device == "cpu":
            return lambda: module(images)

        def run() -> None:
            module(images)
            torch.cuda.synchronize()

        return run

    def _threads(self) -> int:
        return self.profile.threads or len(cores())


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
