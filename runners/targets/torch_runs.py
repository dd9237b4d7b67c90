"""What times PyTorch and ExecuTorch programs: ``python -m runners.targets.torch_runs FORMAT JOB RESULT``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from runners.measuring.stopwatch import measure_files


def torch_load(model: str, job: dict[str, Any]) -> Callable[[], object]:
    """A call that runs a ``torch.export`` program once; on a GPU it waits for its end."""
    program = torch.export.load(model)
    (example,), _ = program.example_inputs
    module = program.module().to(job["device"])
    images = torch.randn(example.shape, device=job["device"])
    if job["device"] == "cpu":
        return lambda: module(images)

    def run() -> None:
        module(images)
        torch.cuda.synchronize()

    return run


def executorch_load(model: str, _job: dict[str, Any]) -> Callable[[], object]:
    """A call that runs a ``.pte`` program once."""
    runtime = import_module("executorch.runtime").Runtime.get()
    method = runtime.load_program(model).load_method("forward")
    shape = tuple(method.metadata.input_tensor_meta(0).sizes())
    images = [torch.randn(shape)]
    return lambda: method.execute(images)


def _executorch_threads(count: int) -> None:
    # Its pool has as many threads as the machine has cores unless it is told otherwise.
    import_module("executorch.extension.pybindings._portable_lib")._unsafe_reset_threadpool(count)


def main(arguments: Sequence[str]) -> None:
    """Reads a job and writes its timings."""
    kind, request, result = arguments
    job = json.loads(Path(request).read_text())
    torch.set_num_threads(job["threads"])
    if kind == "executorch":
        _executorch_threads(job["threads"])
    with torch.no_grad():
        timings = measure_files(job, {"torch": torch_load, "executorch": executorch_load}[kind])
    Path(result).write_text(json.dumps([asdict(timing) for timing in timings]))


if __name__ == "__main__":
    main(sys.argv[1:])
