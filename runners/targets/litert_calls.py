"""LiteRT as calls, for a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from runners.targets.calls import in_calls


def load(model: str, job: dict[str, Any]) -> Callable[[], object]:
    """A call that copies images in and runs a file once, for the stopwatch."""
    call, shape = _opened(model, job["threads"])
    images = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return lambda: call(images)


def run(file: str, images: str, outputs: str, threads: int, batch: int) -> None:
    """Writes the outputs (N, ...) float32 for the images in a file of NumPy's.

    Args:
        file: ``.tflite`` file.
        images: path of the images, float32 (N, ...).
        outputs: path to write.
        threads: threads of the runtime.
        batch: images in a call, which here is the file's own number.
    """
    del batch
    call, shape = _opened(file, threads)
    np.save(outputs, in_calls(call, np.load(images), shape[0]))


def _opened(file: str, threads: int) -> tuple[Callable[[Any], Any], tuple[int, ...]]:
    """A file as a call, and the shape (B, ...) that each call has to have."""
    interpreter = Interpreter(file, num_threads=threads)
    interpreter.allocate_tensors()
    (given,), (wanted,) = interpreter.get_input_details(), interpreter.get_output_details()

    def call(images: Any) -> Any:
        interpreter.set_tensor(given["index"], images)
        interpreter.invoke()
        return interpreter.get_tensor(wanted["index"])  # a copy

    return call, tuple(map(int, given["shape"]))
