"""What weights in fewer bits cost in accuracy, and what the runtime makes of such files.

Run as ``python -m tests.benchmarks.smaller_weights``. First two small networks trained on digits: size of the
file, accuracy and error of the outputs (squared, in per mille of their squares) as the weights are found, and
accuracy after five epochs of training what is shared. Then a ResNet-18 of random weights: latency of the
files, measured side by side, time to load them, and what a process that has loaded one holds beyond one that
has not.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from compress.clusters.shared import cluster, settle
from compress.onnx.export import export_onnx
from compress.onnx.file import OnnxFile
from compress.onnx.numbers.palettes import store_palettes
from compress.onnx.numbers.storage import store_weights
from compress.plain import plain_copy
from runners.targets.profile import load_profile
from runners.targets.target import open_target
from tests.benchmarks.compression_speed import resnet18
from tests.benchmarks.quantization import EPOCHS, TRAINED, Residual, Separable, network_of, train_on

EPOCHS_SHARED = 5
PALETTES: dict[str, dict[str, Any]] = {
    "palette, 8 bits": {"entries": 256},
    "palette, 4 bits": {"entries": 16},
    "palette, 4 bits, one for 8 channels": {"entries": 16, "group": 8},
    "palette, 4 bits for 2 numbers": {"entries": 16, "length": 2},
    "palette, 8 bits for 4 numbers": {"entries": 256, "length": 4},
}
_LOADS = """
import sys, time, onnxruntime
held = lambda: int(open("/proc/self/statm").read().split()[1]) * 4096
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
before, began = held(), time.perf_counter()
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
print(time.perf_counter() - began, held() - before)
"""


def _palette_file(
    network: nn.Module,
    shape: tuple[int, ...],
    folder: Path,
    settings: dict[str, Any],
    train: Callable[[nn.Module], object] | None = None,
) -> Path:
    copy = plain_copy(network)
    begun = cluster(copy, **settings)
    if train is not None:
        train(copy)
    palettes = settle(copy.eval(), begun)
    export_onnx(copy, shape, folder / "float.onnx")
    store_palettes(folder / "float.onnx", folder / "palette.onnx", copy, palettes)
    return folder / "palette.onnx"


def _accuracies(name: str, network: nn.Module, folder: Path) -> None:
    digits = load_digits()
    images, labels = (digits.images[:, None] / 16).astype(np.float32), digits.target.astype(np.int64)
    train = torch.from_numpy(images[:TRAINED]), torch.from_numpy(labels[:TRAINED])
    held = images[TRAINED:], labels[TRAINED:]
    train_on(network, *train, EPOCHS, 1e-2)
    source = folder / "whole.onnx"
    export_onnx(network, (1, 8, 8), source)
    right = OnnxFile(source)(held[0])

    def say(way: str, file: Path, trained: Path | None = None) -> None:
        got = OnnxFile(file)(held[0])
        error = 1e3 * float(((got - right) ** 2).sum() / (right**2).sum())
        after = "" if trained is None else f"{_right(trained, *held):9.2%}"
        size = file.stat().st_size / 1e3
        print(f"  {way:<36} {size:7.1f} kB {_right(file, *held):9.2%} {error:9.2f} {after}", flush=True)

    print(f"{name}: size, accuracy, error, accuracy after {EPOCHS_SHARED} epochs")
    say("float", source)
    for storage in ("fp16", "int4"):
        store_weights(source, folder / "stored.onnx", storage)  # type: ignore[arg-type]
        say(storage, folder / "stored.onnx")
    again = folder / "again"
    again.mkdir()
    for way, settings in PALETTES.items():
        found = _palette_file(network, (1, 8, 8), folder, settings)
        trained = _palette_file(
            *(network, (1, 8, 8), again, settings),
            train=lambda copy: train_on(copy, *train, EPOCHS_SHARED, 2e-3),
        )
        say(way, found, trained)


def _right(file: Path, images: np.ndarray, labels: np.ndarray) -> float:
    return float((OnnxFile(file)(images).argmax(1) == labels).mean())


def _in_the_runtime(folder: Path) -> None:
    network = resnet18().eval()
    shape = (3, 32, 32)
    files = {"float": folder / "whole.onnx"}
    export_onnx(network, shape, files["float"])
    for storage in ("fp16", "int4"):
        files[storage] = folder / f"{storage}.onnx"
        store_weights(files["float"], files[storage], storage)  # type: ignore[arg-type]
    for way in ("palette, 8 bits", "palette, 4 bits", "palette, 4 bits for 2 numbers"):
        place = folder / way.replace(" ", "_").replace(",", "")
        place.mkdir()
        began = time.perf_counter()
        files[way] = _palette_file(network, shape, place, PALETTES[way])
        print(f"  {way}: made in {time.perf_counter() - began:.1f} s", flush=True)
    target = open_target(load_profile("cpu-ort"))
    timings = target.measure(list(files.values()), budget_s=3.0 * len(files))
    print("ResNet-18 at 32x32: size, latency, time to load, memory held")
    for (way, file), timing in zip(files.items(), timings, strict=True):
        command = [sys.executable, "-c", _LOADS, str(file)]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        size, seconds, held = file.stat().st_size, float(told[0]), float(told[1])
        print(
            f"  {way:<36} {size / 1e6:7.2f} MB {timing.median_ms:8.2f} ms {1e3 * seconds:8.0f} ms "
            f"{held / 1e6:8.0f} MB",
            flush=True,
        )


def main() -> None:
    """Prints the tables of docs/compression.md."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    for name, block in (("residual", Residual), ("separable", Separable)):
        with tempfile.TemporaryDirectory() as folder:
            _accuracies(name, network_of(block), Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        _in_the_runtime(Path(folder))


if __name__ == "__main__":
    main()
