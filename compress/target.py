"""What a network is made for: a runtime on a device, as whatever exports, runs or times a file sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray
from torch import nn

from results.records import Record
from results.timing import Memory, Timing


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a target without running anything. Whoever would ask for its name asks one of these.

    Attributes:
        profile: name of the hardware profile.
        runtime: library that runs the files, such as ``onnxruntime``.
        runtime_version: version of that library.
        threads: threads it uses.
        batch: images in a call when latency is measured.
        machine: processor, cores, architecture, system; or the constants of a computed target.
        format: file format, such as ``onnx``; also the ending of its files.
        precisions: number formats that it can run, the first being what tables are measured in.
        local: whether it is this machine that runs the files.
        computed: whether latencies are computed from constants and nothing is measured.
        devices: how many of the kind there are, each of which measures at the same time as the others.
        reachable: whether files can be exported, run and measured; False for a table from elsewhere.
        float_thin: whether small convolutions of one to three channels, as the first on pictures, are faster
            in float in an int8 file, if convolutions follow.
    """

    profile: str
    runtime: str
    runtime_version: str
    threads: int
    batch: int
    machine: str
    format: str
    precisions: tuple[str, ...] = ("fp32",)
    local: bool = True
    computed: bool = False
    devices: int = 1
    reachable: bool = True
    float_thin: bool = False

    @property
    def float_precision(self) -> str:
        """Number format of float files: the first of the precisions, or fp32 where that is int8."""
        return self.precisions[0] if self.precisions[0] != "int8" else "fp32"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTime(Record):
    """All nodes of one type, as the runtime runs them after its own fusions.

    Attributes:
        operator: type, in the runtime's words (``QLinearConv``, ``ReorderOutput``).
        nodes: how many there are.
        latency_ms: time of all of them in one run.
    """

    operator: str
    nodes: int
    latency_ms: float


class Target(Protocol):
    """A runtime on a device. Files are of the format that ``facts`` names, one exporter for all of them."""

    @property
    def facts(self) -> Facts:
        """What is known of it."""
        ...

    def export(
        self, network: nn.Module, input_shape: tuple[int, ...], path: Path, *, precision: str = "fp32"
    ) -> None:
        """Writes a network, or a single layer, as a file for this target, atomically.

        Args:
            network: takes one tensor (B, *input_shape), gives one tensor; left untouched.
            input_shape: shape of one input, without the batch.
            path: file to write.
            precision: number format, one of the facts' ``precisions``. Below float32 the ranges are those of
                random inputs: for timing, not for accuracy.

        Raises:
            ValueError: it cannot be exported, or holds an operator that the profile rules out.
            OSError: the file cannot be written; nothing is left behind.
        """
        ...

    def run(self, file: Path, images: NDArray[Any]) -> NDArray[Any]:
        """Outputs (N, ...) float32 of a file for images (N, *input_shape) float32, run in its runtime.

        Raises:
            ValueError: the runtime cannot load or run the file here.
        """
        ...

    def measure(self, files: Sequence[Path], *, budget_s: float, half_width: float = 0.01) -> list[Timing]:
        """Latencies of files, measured side by side; a file that does not run is not ``measured``.

        Args:
            files: files to be compared with one another.
            budget_s: seconds for all of them.
            half_width: relative half width of the 95 % intervals that is good enough.

        Raises:
            OSError: the device is gone or busy.
            ValueError: nothing can be measured on this target; says what can be done.
        """
        ...

    def operator_times(self, file: Path, images: NDArray[Any] | None = None) -> tuple[OperatorTime, ...]:
        """Time by type of operator, longest first.

        Args:
            file: file of this target's format.
            images: one call's input, (B, ...) float32; None has one made up.

        Raises:
            ValueError: the runtime does not tell, or cannot run the file.
        """
        ...


@runtime_checkable
class TellsMemory(Protocol):
    """A target that also says what memory a file takes."""

    def memory(self, file: Path) -> Memory:
        """Memory of a process of its own that loads a file and runs it.

        Raises:
            ValueError: the file does not run, or the system does not tell.
        """
        ...


@runtime_checkable
class TakesOnnx(Protocol):
    """A target that also makes its files of ONNX ones, whoever wrote them."""

    def take_onnx(self, source: Path, path: Path, *, precision: str = "fp32") -> None:
        """Writes an ONNX file as a file for this target, atomically.

        Args:
            source: float ONNX file of one input; sizes other than the first are given in it.
            path: file to write.
            precision: number format, as in ``Target.export``.

        Raises:
            ValueError: it cannot be taken, or holds an operator that the profile or the runtime lacks.
            OSError: the file cannot be written; nothing is left behind.
        """
        ...
