"""AOTInductor as calls, for a process of its own."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # else it starts a pool for one file

import numpy as np
import torch
import torch._inductor
from torch._inductor.cpu_vec_isa import pick_vec_isa

from runners.targets.calls import in_calls
from runners.targets.torch_runs import input_shape, read_program

_SHAPE, _THREADS = "input_shape", "threads"  # what a package says of itself


def convert(source: str, file: str, precision: str, threads: int) -> None:
    """Compiles a program.

    Args:
        source: ``torch.export`` program of one input.
        file: path to write, which ends in ``.pt2``.
        precision: number format, which is the program's.
        threads: threads that the code is written for.
    """
    del precision
    torch.set_num_threads(threads)
    program = read_program(source)
    settings = {
        "freezing": True,  # weights are constants, in the layout that the kernels want
        "cpp.threads": threads,
        "aot_inductor.metadata": {_SHAPE: ",".join(map(str, input_shape(program))), _THREADS: str(threads)},
    }
    pick_vec_isa()  # compiles a few programs once, which PyTorch keeps; what follows is taken away
    kept = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    with tempfile.TemporaryDirectory(prefix="quarry-") as folder, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of deprecations inside the compiler
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder  # megabytes for each file, which it never takes away
        try:
            torch._inductor.aoti_compile_and_package(program, package_path=file, inductor_configs=settings)
        finally:
            del os.environ["TORCHINDUCTOR_CACHE_DIR"]
            if kept is not None:
                os.environ["TORCHINDUCTOR_CACHE_DIR"] = kept


def load(model: str, job: dict[str, Any]) -> Callable[[], object]:
    """A call that runs a package once, for the stopwatch."""
    opened = _Opened(model, job["threads"])
    images = torch.randn(opened.shape, generator=torch.Generator().manual_seed(0))
    return lambda: opened(images)


def run(file: str, images: str, outputs: str, threads: int, batch: int) -> None:
    """Writes the outputs (N, ...) float32 for the images in a file of NumPy's.

    Args:
        file: package.
        images: path of the images, float32 (N, ...).
        outputs: path to write.
        threads: threads of the runtime.
        batch: images in a call, which here is the package's own number.
    """
    del batch
    opened = _Opened(file, threads)
    found = in_calls(lambda part: opened(torch.from_numpy(part)).numpy(), np.load(images), opened.shape[0])
    np.save(outputs, found)


class _Opened:
    """A package ready to run.

    Args:
        file: package.
        threads: threads of the runtime.

    Raises:
        ValueError: it is no package of ours, or was compiled for another number of threads.
    """

    def __init__(self, file: str, threads: int) -> None:
        self._call = torch._inductor.aoti_load_package(file, run_single_threaded=True)
        about = self._call.loader.get_metadata()
        if _SHAPE not in about:
            raise ValueError("it does not say what images it takes")
        if int(about[_THREADS]) != threads:
            raise ValueError(f"it was compiled for {about[_THREADS]} threads, and {threads} are wanted")
        torch.set_num_threads(threads)
        self.shape = tuple(map(int, about[_SHAPE].split(",")))

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Outputs of one call."""
        with torch.no_grad():
            found: torch.Tensor = self._call(images)
        return found
