"""ncnn as calls, for a process of its own; pnnx makes its files."""

from __future__ import annotations

import json
import subprocess
import tempfile
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ncnn
import numpy as np
import onnx

PARAM, WEIGHTS, ABOUT = "model.param", "model.bin", "about.json"
"""What a file holds, stored as it is: ncnn's two files, and what they do not say, shape and number format."""


def convert(source: str, file: str, precision: str) -> None:
    """Converts an ONNX file.

    Args:
        source: ONNX file.
        file: path to write, a zip file.
        precision: ``fp32``; ``fp16``, in which weights are kept; or ``bf16``, in which ncnn computes.

    Raises:
        ValueError: pnnx does not convert it, or to layers that ncnn has not.
    """
    with tempfile.TemporaryDirectory(prefix="quarry-") as name:
        folder = Path(name)
        sizes = _input_shape(source)
        command = [
            _pnnx(),
            source,
            f"inputshape=[{','.join(map(str, sizes))}]",
            f"fp16={precision == 'fp16':d}",
        ]
        for kind in ("pnnxparam", "pnnxbin", "pnnxpy", "pnnxonnx", "ncnnparam", "ncnnbin", "ncnnpy"):
            command.append(f"{kind}={folder / kind}")
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode or not (folder / "ncnnparam").exists():
            said = (done.stderr or done.stdout).strip().splitlines()[-1:] or [f"code {done.returncode}"]
            raise ValueError(f"pnnx does not convert it: {said[0]}")
        layers = [line.split()[0] for line in (folder / "ncnnparam").read_text().splitlines()[2:]]
        if missing := sorted({layer for layer in layers if ncnn.layer_to_index(layer) < 0}):
            raise ValueError(f"ncnn has no layer {', '.join(missing)}")
        with zipfile.ZipFile(file, "w") as made:
            made.write(folder / "ncnnparam", PARAM)
            made.write(folder / "ncnnbin", WEIGHTS)
            made.writestr(ABOUT, json.dumps({"input_shape": sizes[1:], "precision": precision}))


def load(model: str, job: dict[str, Any]) -> Callable[[], object]:
    """A call that runs a file once, for the stopwatch; ncnn takes a batch image by image."""
    opened = _Opened(model, job["threads"])
    images = np.random.default_rng(0).standard_normal((job["batch"], *opened.shape)).astype(np.float32)
    return lambda: [opened(image) for image in images]


def run(file: str, images: str, outputs: str, threads: int, batch: int) -> None:
    """Writes the outputs (N, ...) float32 for the images in a file of NumPy's.

    Args:
        file: zip file of ncnn's two.
        images: path of the images, float32 (N, ...).
        outputs: path to write.
        threads: threads of the runtime.
        batch: images in a call, which here is always one.
    """
    del batch
    opened = _Opened(file, threads)
    np.save(outputs, np.stack([opened(image) for image in np.load(images)]))


class _Opened:
    """A file ready to run.

    Args:
        file: zip file of ncnn's two.
        threads: threads of the runtime.

    Raises:
        ValueError: ncnn cannot load it.
    """

    def __init__(self, file: str, threads: int) -> None:
        self._net = ncnn.Net()
        options = self._net.opt
        options.num_threads, options.use_vulkan_compute = threads, False
        with tempfile.TemporaryDirectory(prefix="quarry-") as folder, zipfile.ZipFile(file) as kept:
            about = json.loads(kept.read(ABOUT))
            self.shape = tuple(about["input_shape"])
            # Left to itself it keeps activations in half precision where the processor can.
            half = about["precision"] == "fp16"
            options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = half
            options.use_bf16_storage = about["precision"] == "bf16"
            kept.extractall(folder)
            for take, name in ((self._net.load_param, PARAM), (self._net.load_model, WEIGHTS)):
                if take(str(Path(folder) / name)):
                    raise ValueError(f"ncnn cannot load {name}")
        self._given, self._wanted = self._net.input_names()[0], self._net.output_names()[0]

    def __call__(self, image: Any) -> Any:
        """Output of one image."""
        extractor = self._net.create_extractor()
        extractor.input(self._given, ncnn.Mat(image))
        failed, found = extractor.extract(self._wanted)
        if failed:
            raise ValueError(f"ncnn fails at {self._wanted} with {failed}")
        return np.array(found, dtype=np.float32)


def _input_shape(source: str) -> list[int]:
    """Shape of the one input of an ONNX file, for one image."""
    graph = onnx.load(source, load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer}
    (given,) = (given for given in graph.input if given.name not in weights)
    return [axis.dim_value or 1 for axis in given.type.tensor_type.shape.dim]


def _pnnx() -> str:
    """The program in pnnx's package, which itself would load PyTorch."""
    found = find_spec("pnnx")
    if found is None or not found.submodule_search_locations:
        raise ValueError("pnnx is not installed: pip install 'quarry-nas[ncnn]'")
    return str(Path(found.submodule_search_locations[0]) / "pnnx")
