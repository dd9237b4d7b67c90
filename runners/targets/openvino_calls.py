"""OpenVINO as calls, for a process of its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import openvino

from runners.targets.calls import in_calls

_HINTS = {"fp32": "f32", "int8": "f32", "bf16": "bf16", "fp16": "f16"}
_RUNS = 30  # of a file whose time is taken apart, after as many that warm up


def load(model: str, job: dict[str, Any]) -> Callable[[], object]:
    """A call that runs a file once, for the stopwatch."""
    compiled = _compiled(model, job["threads"], job["batch"], job["options"])
    request = compiled.create_infer_request()
    for given, values in _example(compiled).items():
        request.set_tensor(given, openvino.Tensor(values))
    return lambda: request.infer()


def run(file: str, images: str, outputs: str, threads: int, batch: int, options: dict[str, str]) -> None:
    """Writes the outputs (N, ...) float32 for the images in a file of NumPy's.

    Args:
        file: ONNX file.
        images: path of the images, float32 (N, ...).
        outputs: path to write.
        threads: threads of the runtime.
        batch: images in a call where the file takes any number; the last is filled up with zeros.
        options: properties of OpenVINO.
    """
    compiled = _compiled(file, threads, batch, options)
    if len(compiled.inputs) != 1:
        raise ValueError(f"it takes {len(compiled.inputs)} inputs, and images are one")
    request = compiled.create_infer_request()

    def call(part: Any) -> Any:
        request.infer([part])
        return np.array(request.get_output_tensor(0).data)  # a copy: the next call writes over it

    np.save(outputs, in_calls(call, np.load(images), compiled.inputs[0].shape[0]))


def operator_times(
    file: str, images: str, threads: int, batch: int, options: dict[str, str]
) -> list[tuple[str, int, float]]:
    """Type, how many there are, and milliseconds of one run, of what the runtime runs after its fusions.

    Args:
        file: ONNX file.
        images: path of one call's images; empty where any will do.
        threads: threads of the runtime.
        batch: images in a call.
        options: properties of OpenVINO.
    """
    compiled = _compiled(file, threads, batch, {**options, "PERF_COUNT": "YES"})
    request = compiled.create_infer_request()
    given = {compiled.inputs[0]: np.load(images)} if images else _example(compiled)
    counts: defaultdict[str, int] = defaultdict(int)
    seconds: defaultdict[str, float] = defaultdict(float)
    for number in range(2 * _RUNS):
        request.infer(given)
        for entry in request.get_profiling_info() if number >= _RUNS else ():
            if entry.status == entry.Status.EXECUTED:
                name = f"{entry.node_type} ({entry.exec_type})"
                counts[name] += 1
                seconds[name] += entry.real_time.total_seconds()
    return [(name, max(1, counts[name] // _RUNS), 1e3 * seconds[name] / _RUNS) for name in counts]


def _example(compiled: Any) -> dict[Any, Any]:
    """An array for each input: random numbers, or zeros where it takes integers."""
    generator, arrays = np.random.default_rng(0), {}
    for given in compiled.inputs:
        kind, shape = given.get_element_type().to_dtype(), tuple(given.shape)
        floating = np.issubdtype(kind, np.floating)
        arrays[given] = (generator.standard_normal(shape) if floating else np.zeros(shape)).astype(kind)
    return arrays


def _compiled(file: str, threads: int, batch: int, options: dict[str, str]) -> Any:
    """A file ready to run on the CPU, its sizes all fixed, in the number format that it is marked with."""
    marks = {entry.key: entry.value for entry in onnx.load(file, load_external_data=False).metadata_props}
    core = openvino.Core()
    model = core.read_model(file)
    sizes = {
        given: [batch if axis.is_dynamic else axis.get_length() for axis in given.partial_shape]
        for given in model.inputs
    }
    model.reshape(sizes)  # open sizes cost time in every call
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(threads),
        # Left to itself it computes in bfloat16 where the processor can.
        "INFERENCE_PRECISION_HINT": _HINTS[marks.get("precision", "fp32")],
        **options,
    }
    return core.compile_model(model, "CPU", settings)
