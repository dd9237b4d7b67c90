"""ExecuTorch as calls, for a process of its own."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from runners.targets.calls import in_calls
from runners.targets.torch_runs import input_shape, read_program

_CALIBRATION = 4  # calls with random images, which give int8 its ranges


def convert(source: str, file: str, precision: str) -> None:
    """Lowers a program to XNNPACK; ExecuTorch's portable kernels run what that does not.

    Args:
        source: ``torch.export`` program of one input.
        file: path to write.
        precision: fp32, or int8 with a scale for each channel and ranges of random images.
    """
    logging.getLogger("torchao").setLevel(logging.ERROR)  # of GPU libraries that are not there
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of deprecations inside the exporter
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        program = read_program(source)
        if precision == "int8":
            program = _int8(program)
        lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
        Path(file).write_bytes(lowered.to_executorch().buffer)


def load(model: str, job: dict[str, Any]) -> Callable[[], object]:
    """A call that runs a program once, for the stopwatch."""
    call, shape = _opened(model, job["threads"])
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return lambda: call(images)


def run(file: str, images: str, outputs: str, threads: int, batch: int) -> None:
    """Writes the outputs (N, ...) float32 for the images in a file of NumPy's.

    Args:
        file: program.
        images: path of the images, float32 (N, ...).
        outputs: path to write.
        threads: threads of the runtime.
        batch: images in a call, which here is the program's own number.
    """
    del batch
    call, shape = _opened(file, threads)
    found = in_calls(lambda part: call(torch.from_numpy(part)).numpy(), np.load(images), shape[0])
    np.save(outputs, found)


def _int8(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """A program whose weights and activations are rounded to 8 bits, as XNNPACK computes them."""
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    prepared = prepare_pt2e(program.module(), quantizer)
    generator, shape = torch.Generator().manual_seed(0), tuple(map(int, input_shape(program)))
    for _ in range(_CALIBRATION):
        prepared(torch.randn(shape, generator=generator))
    return torch.export.export(convert_pt2e(prepared), (torch.zeros(shape),))


def _opened(file: str, threads: int) -> tuple[Callable[[torch.Tensor], torch.Tensor], tuple[int, ...]]:
    """A program as a call, and the shape (B, ...) that each call has to have."""
    from executorch.extension.pybindings import _portable_lib
    from executorch.runtime import Runtime

    # Its pool has as many threads as the machine has cores unless it is told otherwise.
    _portable_lib._unsafe_reset_threadpool(threads)
    method = Runtime.get().load_program(file).load_method("forward")
    shape = tuple(method.metadata.input_tensor_meta(0).sizes())
    return lambda images: method.execute([images])[0], shape
