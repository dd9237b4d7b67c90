"""``torch.export`` programs as calls.

``python -m runners.targets.torch_runs JOB RESULT`` times those of a job.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from runners.measuring.stopwatch import measure_files


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A ``torch.export`` program ready to run.

    Attributes:
        module: takes images (B, *input_shape) on its device.
        input_shape: shape of one image.
        batch: images that each call has to have; None where any number will do.
    """

    module: nn.Module
    input_shape: tuple[int, ...]
    batch: int | None


def load_program(file: str, device: str) -> Program:
    """A program on a device; what PyTorch raises where the file is none is passed on."""
    program = read_program(file)
    if device != "cpu":
        program = import_module("torch.export.passes").move_to_device_pass(program, device)
    shape = input_shape(program)
    return Program(module=program.module(), input_shape=tuple(map(int, shape[1:])), batch=batch_of(program))


def read_program(file: str) -> torch.export.ExportedProgram:
    """A program as it was exported; what PyTorch raises where the file is none is passed on."""
    with warnings.catch_warnings(), open(file, "rb") as handle:
        warnings.simplefilter("ignore")  # of deprecations inside the loader
        return torch.export.load(handle)


def batch_of(program: torch.export.ExportedProgram) -> int | None:
    """The number of images that each call has to have; None where any will do."""
    batch = input_shape(program)[0]
    if isinstance(batch, int):
        return batch
    settled: int | None = batch.node.maybe_as_int()  # a symbol that the network left one value
    return settled


def input_shape(program: torch.export.ExportedProgram) -> torch.Size:
    """The shape of the one input, a symbol where any size will do."""
    (given,) = program.graph_signature.user_inputs
    shape: torch.Size = next(node.meta["val"].shape for node in program.graph.nodes if node.name == given)
    return shape


def torch_load(model: str, job: dict[str, Any]) -> Callable[[], object]:
    """A call that runs a ``torch.export`` program once; on a GPU it waits for its end."""
    program = load_program(model, job["device"])
    images = torch.randn(program.batch or job["batch"], *program.input_shape, device=job["device"])
    module = program.module
    if job["device"] == "cpu":
        return lambda: module(images)

    def run() -> None:
        module(images)
        torch.cuda.synchronize()

    return run


def main(arguments: Sequence[str]) -> None:
    """Reads a job and writes its timings."""
    request, result = arguments
    job = json.loads(Path(request).read_text())
    torch.set_num_threads(job["threads"])
    with torch.no_grad():
        timings = measure_files(job, torch_load)
    Path(result).write_text(json.dumps([asdict(timing) for timing in timings]))


if __name__ == "__main__":
    main(sys.argv[1:])
