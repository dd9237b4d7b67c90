"""PyTorch on the CPU or a GPU: what a server without another runtime sees."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compress.onnx.agreement import refuse_difference
from compress.onnx.fuse import fuse
from compress.plain import faithful_copy
from compress.target import Facts, OperatorTime
from results.files import replace_atomic
from results.timing import Timing
from runners.measuring.machine import machine_fingerprint
from runners.measuring.process import measure_apart, threads_of
from runners.targets.calls import in_calls
from runners.targets.hardware import HardwareProfile, only_in
from runners.targets.registry import RUNTIMES
from runners.targets.torch_runs import Program, batch_of, load_program

_RUNS = 30  # of a file whose time is taken apart, after as many that warm up


@RUNTIMES.register("torch")
class TorchTarget:
    """PyTorch on this machine's CPU or GPU; files are ``torch.export`` programs.

    Args:
        profile: what is common to all runtimes.
        device: device that programs run on.

    Raises:
        ValueError: the profile wants a GPU and there is none, or another precision than fp32.
    """

    def __init__(self, profile: HardwareProfile, *, device: Literal["cpu", "cuda"] = "cpu") -> None:
        self._profile, self._device = profile, device
        if device == "cuda" and not torch.cuda.is_available():
            raise ValueError(
                f"profile {profile.name!r} needs a CUDA GPU that this PyTorch ({torch.__version__}) can use; "
                "none was found"
            )
        only_in(profile, ("fp32",))
        self.facts = Facts(
            profile=profile.name,
            runtime=f"torch-{device}",
            runtime_version=torch.__version__,
            threads=threads_of(profile),
            batch=profile.batch,
            machine=torch.cuda.get_device_name() if device == "cuda" else machine_fingerprint(),
            format="pt2",
            precisions=profile.precisions,
        )

    def export(
        self, network: nn.Module, input_shape: tuple[int, ...], path: Path, *, precision: str = "fp32"
    ) -> None:
        """Writes the fused network as a ``torch.export`` program, for any number of images where it can."""
        refuse_precision(self._profile, precision)
        program = exported_program(network, (2, *input_shape), free_batch=True)
        if (images := batch_of(program)) not in (None, self._profile.batch):
            try:  # a network that goes by its number of images: by that of the profile then
                shape = (self._profile.batch, *input_shape)
                program = exported_program(network, shape, free_batch=False)
            except ValueError as error:
                raise ValueError(
                    f"takes {images} images in a call, and profile {self._profile.name!r} times calls of "
                    f"{self._profile.batch}: {error}"
                ) from error
        refuse_operators(self._profile, program)
        replace_atomic(path, lambda temporary: save_program(program, temporary))

    def run(self, file: Path, images: NDArray[Any]) -> NDArray[Any]:
        """Outputs of a program, run in this process on the profile's device."""
        program = self._load(file)
        return in_calls(self._call(program), images, program.batch)

    def measure(self, files: Sequence[Path], *, budget_s: float, half_width: float = 0.01) -> list[Timing]:
        """Times programs side by side in processes of their own; on a GPU each run waits for its end."""
        command = ["-m", "runners.targets.torch_runs"]
        return measure_apart(
            command, files, self._profile, budget_s=budget_s, half_width=half_width, device=self._device
        )

    def operator_times(self, file: Path, images: NDArray[Any] | None = None) -> tuple[OperatorTime, ...]:
        """Time by ATen operator, as PyTorch's profiler sees it, without what Python takes to start each."""
        program = self._load(file)
        batch = program.batch or self._profile.batch
        given = torch.randn(batch, *program.input_shape).numpy() if images is None else images
        call = self._call(program)
        for _ in range(_RUNS):
            call(given)
        with torch.profiler.profile() as profiler:
            for _ in range(_RUNS):
                call(given)
        name = "self_cpu_time_total" if self._device == "cpu" else "self_device_time_total"
        found = [
            OperatorTime(
                operator=event.key.removeprefix("aten::"),
                nodes=max(1, event.count // _RUNS),
                latency_ms=float(getattr(event, name)) / 1000 / _RUNS,
            )
            for event in profiler.key_averages()
        ]
        found = [entry for entry in found if entry.latency_ms > 0]
        return tuple(sorted(found, key=lambda entry: -entry.latency_ms))

    def _load(self, file: Path) -> Program:
        try:
            return load_program(str(file), self._device)
        except Exception as error:  # whatever reading a foreign file raises
            raise ValueError(f"{file} is no torch.export program: {_words(error)}") from error

    def _call(self, program: Program) -> Callable[[NDArray[Any]], NDArray[Any]]:
        def call(images: NDArray[Any]) -> NDArray[Any]:
            with torch.no_grad():
                outputs: Tensor = program.module(torch.from_numpy(images).to(self._device))
            return outputs.float().cpu().numpy()

        return call


def exported_program(
    network: nn.Module, shape: tuple[int, ...], *, free_batch: bool
) -> torch.export.ExportedProgram:
    """The fused network as a program for images of a shape (B, ...).

    Args:
        network: takes one tensor, gives one; left untouched.
        shape: shape of the example, batch first.
        free_batch: whether the program takes other numbers of images too, where the network does.

    Raises:
        ValueError: it cannot be exported, or computes something else than the network, in one line.
    """
    dynamic = ({0: torch.export.Dim.AUTO},) if free_batch else None
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    try:
        whole = faithful_copy(network).cpu().float().eval()
        fused = fuse(whole)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of deprecations inside the exporter
            program = torch.export.export(fused, (torch.zeros(shape),), dynamic_shapes=dynamic)
            right = whole(images.clone())
            if isinstance(right, Tensor) and not right.isfinite().all():  # as of a logarithm
                images = images.abs()
                right = whole(images.clone())
            got = program.module()(images.clone())
    except Exception as error:  # a user's module fails in whatever way it likes
        raise ValueError(f"cannot be exported: {_words(error)}") from error
    if not isinstance(right, Tensor):
        raise ValueError(f"cannot be exported: it gives a {type(right).__name__}, and not one tensor")
    try:
        refuse_difference(got.numpy(), right.numpy(), shape[0])
    except ValueError as error:
        raise ValueError(f"cannot be exported: {error}") from None
    return program


def refuse_precision(profile: HardwareProfile, precision: str) -> None:
    """Refuses a number format that is not the profile's.

    Raises:
        ValueError: it is not.
    """
    if precision not in profile.precisions:
        raise ValueError(
            f"profile {profile.name!r} measures {', '.join(profile.precisions)}, not {precision}"
        )


def refuse_operators(profile: HardwareProfile, program: torch.export.ExportedProgram) -> None:
    """Refuses a program that holds an operator of PyTorch's that a profile rules out.

    Raises:
        ValueError: it does.
    """
    operators = {str(node.target).split(".")[1] for node in program.graph.nodes if node.op == "call_function"}
    if found := sorted(operators & set(profile.unsupported_operators)):
        raise ValueError(f"uses {', '.join(found)}, which the profile cannot run")


def save_program(program: torch.export.ExportedProgram, path: Path) -> None:
    """Writes a program under any name."""
    with path.open("wb") as file:  # by its name PyTorch wants another ending
        torch.export.save(program, file)


def _words(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
