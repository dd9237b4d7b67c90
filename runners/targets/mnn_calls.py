"""MNN as calls, for a process of its own."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import MNN
import numpy as np

from runners.targets.calls import in_calls

_RUNS = 30  # of a file whose time is taken apart, after as many that warm up
_SHRUNK = {"fp32": [], "fp16": ["--fp16"], "int8": ["--weightQuantBits", "8"]}


def convert(source: str, file: str, precision: str) -> None:
    """Converts an ONNX file.

    Args:
        source: ONNX file.
        file: path to write.
        precision: number format of the weights: fp32, fp16 or int8.

    Raises:
        ValueError: MNN does not convert it; has what it said.
    """
    import _tools  # MNN's own command installs packages of its own accord when it is imported

    command = ["mnnconvert", "-f", "ONNX", "--modelFile", source, "--MNNModel", file, "--bizCode", "quarry"]
    with tempfile.TemporaryFile("w+") as said:
        kept = os.dup(1)
        os.dup2(said.fileno(), 1)  # it prints what is wrong, and returns True
        try:
            _tools.mnnconvert([*command, *_SHRUNK[precision]])
        finally:
            sys.stdout.flush()
            os.dup2(kept, 1)
            os.close(kept)
        said.seek(0)
        lines = said.read().splitlines()
    if not Path(file).exists():
        told = [
            re.sub(r"^\[[\d:]+\] :\d+: ", "", line.strip())
            for line in lines
            if re.search("[Ee]rror|ot Support", line)
        ]
        raise ValueError("MNN does not convert it: " + ("; ".join(told[:3]) or "no reason is given"))


def load(model: str, job: dict[str, Any]) -> Callable[[], object]:
    """A call that copies images in and runs a file once, for the stopwatch."""
    opened = _Opened(model, job["threads"], job["batch"])
    opened.give(np.random.default_rng(0).standard_normal(opened.shape).astype(np.float32))
    return opened.run


def run(file: str, images: str, outputs: str, threads: int, batch: int) -> None:
    """Writes the outputs (N, ...) float32 for the images in a file of NumPy's.

    Args:
        file: MNN file.
        images: path of the images, float32 (N, ...).
        outputs: path to write.
        threads: threads of the runtime.
        batch: images in a call; the last is filled up with zeros.
    """
    opened = _Opened(file, threads, batch)

    def call(part: Any) -> Any:
        opened.give(part)
        opened.run()
        return opened.outputs()

    np.save(outputs, in_calls(call, np.load(images), batch))


def operator_times(file: str, images: str, threads: int, batch: int) -> list[tuple[str, int, float]]:
    """Type, how many there are, and milliseconds of one run, of what the runtime runs after its fusions.

    Args:
        file: MNN file.
        images: path of one call's images; empty where any will do.
        threads: threads of the runtime.
        batch: images in a call.
    """
    opened = _Opened(file, threads, batch)
    opened.give(
        np.load(images)
        if images
        else np.random.default_rng(0).standard_normal(opened.shape).astype(np.float32)
    )
    counts: defaultdict[str, int] = defaultdict(int)
    seconds: defaultdict[str, float] = defaultdict(float)
    began = 0.0

    def before(_tensors: object, _about: object) -> bool:
        nonlocal began
        began = time.perf_counter()
        return True

    def after(_tensors: object, about: Any) -> bool:
        counts[about.getType()] += 1
        seconds[about.getType()] += time.perf_counter() - began
        return True

    for number in range(2 * _RUNS):
        if number == _RUNS:
            counts.clear()
            seconds.clear()
        opened.copy_in()
        opened.interpreter.runSessionWithCallBackInfo(opened.session, before, after)
    return [(name, max(1, counts[name] // _RUNS), 1e3 * seconds[name] / _RUNS) for name in counts]


class _Opened:
    """A file with a session for a number of images.

    Args:
        file: MNN file.
        threads: threads of the runtime.
        batch: images in a call.

    Raises:
        ValueError: MNN cannot load it.
    """

    def __init__(self, file: str, threads: int, batch: int) -> None:
        self.interpreter = MNN.Interpreter(file)
        self.session = self.interpreter.createSession({"backend": "CPU", "numThread": threads})
        self._input = self.interpreter.getSessionInput(self.session)
        self.shape = (batch, *self._input.getShape()[1:])
        self.interpreter.resizeTensor(self._input, self.shape)
        self.interpreter.resizeSession(self.session)
        self._given: Any = None

    def give(self, images: Any) -> None:
        """Keeps images (B, ...) for the runs that follow."""
        kind, layout = MNN.Halide_Type_Float, MNN.Tensor_DimensionType_Caffe
        self._kept = np.ascontiguousarray(images)  # the tensor is a view of it
        self._given = MNN.Tensor(self.shape, kind, self._kept, layout)

    def copy_in(self) -> None:
        """Copies the images in, before each run: one may overwrite them."""
        self._input.copyFrom(self._given)

    def run(self) -> None:
        """One call."""
        self.copy_in()
        self.interpreter.runSession(self.session)

    def outputs(self) -> Any:
        """What the last call gave, (B, ...) float32."""
        found = self.interpreter.getSessionOutput(self.session)
        shape = found.getShape()
        kind, layout = MNN.Halide_Type_Float, MNN.Tensor_DimensionType_Caffe
        host = MNN.Tensor(shape, kind, np.zeros(shape, np.float32), layout)
        found.copyToHostTensor(host)
        return np.array(host.getNumpyData(), dtype=np.float32).reshape(shape)
