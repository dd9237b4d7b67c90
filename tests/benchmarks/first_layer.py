"""What the first convolution of a network costs in int8, and left in float, in an int8 file.

    python -m tests.benchmarks.first_layer [PROFILE]

A minute on one core that has nothing else to do. A first layer of each shape, then a 3x3 convolution and a
pooled head in int8, are timed in ONNX Runtime, one thread, batch 1, or on another profile that takes ONNX
files (cpu-openvino); the first layer in int8 as well, and in float. All files are timed side by side. It
prints the table of docs/compression.md.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

from compress.onnx.static import Int8, quantize_static
from compress.target import Target
from runners.targets.profile import load_profile
from runners.targets.target import open_target

CASES = (  # size of the image, its channels; width, kernel and stride of the layer
    (32, 3, 16, 3, 2),
    (32, 3, 32, 3, 2),
    (32, 3, 64, 3, 2),
    (32, 3, 32, 3, 1),
    (32, 1, 32, 3, 2),
    (32, 3, 48, 2, 2),
    (32, 3, 48, 4, 4),
    (64, 3, 32, 3, 2),
    (128, 3, 16, 3, 2),
    (128, 3, 32, 3, 2),
    (128, 3, 64, 7, 2),
    (128, 3, 96, 4, 4),
)


def write(
    size: int, channels: int, width: int, kernel: int, stride: int, target: Target, stem: Path
) -> list[Path]:
    """The int8 files of a network: its first layer in int8, and in float."""
    pad = (kernel - 1) // 2
    first = nn.Sequential(nn.Conv2d(channels, width, kernel, stride, pad), nn.ReLU())
    second = nn.Sequential(nn.Conv2d(width, width, 3, 2, 1), nn.ReLU())
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))
    shape = (channels, size, size)
    images = np.random.default_rng(0).standard_normal((32, *shape)).astype(np.float32)
    plain, files = (
        stem.with_suffix(".onnx"),
        [stem.with_suffix(f".{which}.onnx") for which in ("int8", "float")],
    )
    target.export(nn.Sequential(first, second, head).eval(), shape, plain)
    for file, thin in zip(files, (False, True), strict=True):
        quantize_static(plain, images, file, Int8(float_thin=thin))
    return files


def main() -> None:
    torch.manual_seed(0)
    target = open_target(load_profile(sys.argv[1] if len(sys.argv) > 1 else "cpu-ort"))
    with tempfile.TemporaryDirectory() as folder:
        made = [write(*case, target, Path(folder) / str(place)) for place, case in enumerate(CASES)]
        timings = target.measure([file for files in made for file in files], budget_s=2.0 * 2 * len(CASES))
    print("| image | first layer | int8, ms | float, ms | int8 / float |")
    print("|---" * 5 + "|")
    for place, (size, channels, width, kernel, stride) in enumerate(CASES):
        int8_ms, float_ms = (one.median_ms for one in timings[2 * place : 2 * place + 2])
        layer = f"{channels} to {width}, {kernel}x{kernel}, stride {stride}"
        print(f"| {size}x{size} | {layer} | {int8_ms:.4f} | {float_ms:.4f} | {int8_ms / float_ms:.2f} |")


if __name__ == "__main__":
    main()
