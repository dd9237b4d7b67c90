"""What the first convolution of a network costs in int8, and left in float, in an int8 file.

    python -m tests.benchmarks.first_layer [PROFILE]

Two minutes on one core that has nothing else to do. A first layer of each shape, then a 3x3 convolution and a
pooled head in int8, are timed in ONNX Runtime, one thread, batch 1, or on another profile that takes ONNX
files (cpu-openvino); the first layer in int8 as well, and in float. Then one shape of first layer with other
things behind it. The files of a table are timed side by side. It prints the tables of docs/compression.md.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from compress.onnx.static import Int8, quantize_static
from compress.target import Target
from results.timing import Timing
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
SIDES, WIDTH = (32, 96), 32  # of what is put behind a first layer of 3x3 and stride 2


class Residual(nn.Module):
    """Two 3x3 convolutions beside what they read, or beside a convolution of it."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        stride = 1 if out == width else 2
        self.inner = nn.Sequential(
            nn.Conv2d(width, out, 3, stride, 1), nn.ReLU(), nn.Conv2d(out, out, 3, 1, 1)
        )
        self.beside = nn.Identity() if out == width else nn.Conv2d(width, out, 1, stride)

    def forward(self, maps: Tensor) -> Tensor:
        summed: Tensor = torch.relu(self.inner(maps) + self.beside(maps))
        return summed


def convolution(width: int, out: int, stride: int, groups: int = 1) -> nn.Sequential:
    """A 3x3 convolution and its activation."""
    return nn.Sequential(nn.Conv2d(width, out, 3, stride, 1, groups=groups), nn.ReLU())


def followers() -> dict[str, nn.Module]:
    """What is put behind a first layer, by what it is called."""
    return {
        "a convolution": convolution(WIDTH, WIDTH, 1),
        "a depthwise convolution": convolution(WIDTH, WIDTH, 1, groups=WIDTH),
        "a residual block with a convolution beside": Residual(WIDTH, 2 * WIDTH),
        "a residual block": Residual(WIDTH, WIDTH),
        "three residual blocks": nn.Sequential(*(Residual(WIDTH, WIDTH) for _ in range(3))),
        "a max pooling, a residual block": nn.Sequential(nn.MaxPool2d(2), Residual(WIDTH, WIDTH)),
    }


def network(first: nn.Conv2d, behind: nn.Module, width: int) -> nn.Sequential:
    """A first layer, what is behind it, and a pooled head."""
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))
    return nn.Sequential(nn.Sequential(first, nn.ReLU()), behind, head).eval()


def timed(networks: list[tuple[nn.Sequential, tuple[int, ...]]], target: Target) -> list[list[Timing]]:
    """Networks and the shapes that they take, with the first layer in int8, and with it in float."""
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for place, (module, shape) in enumerate(networks):
            plain = Path(folder) / f"{place}.onnx"
            target.export(module, shape, plain)
            images = np.random.default_rng(0).standard_normal((32, *shape)).astype(np.float32)
            for left in ((), ("0.0",)):
                files.append(Path(folder) / f"{place}-{len(left)}.onnx")
                quantize_static(plain, images, files[-1], Int8(float_layers=left))
        timings = target.measure(files, budget_s=2.0 * len(files))
    return [timings[place : place + 2] for place in range(0, len(timings), 2)]


def row(image: int, what: str, timings: list[Timing]) -> str:
    """A line of a table."""
    int8_ms, float_ms = (one.median_ms for one in timings)
    return f"| {image}x{image} | {what} | {int8_ms:.4f} | {float_ms:.4f} | {int8_ms / float_ms:.2f} |"


def main() -> None:
    torch.manual_seed(0)
    target = open_target(load_profile(sys.argv[1] if len(sys.argv) > 1 else "cpu-ort"))
    shapes = [
        (
            network(
                nn.Conv2d(channels, width, kernel, stride, (kernel - 1) // 2),
                convolution(width, width, 2),
                width,
            ),
            (channels, image, image),
        )
        for image, channels, width, kernel, stride in CASES
    ]
    print("| image | first layer | int8, ms | float, ms | int8 / float |\n" + "|---" * 5 + "|")
    for (image, channels, width, kernel, stride), timings in zip(CASES, timed(shapes, target), strict=True):
        print(row(image, f"{channels} to {width}, {kernel}x{kernel}, stride {stride}", timings))
    behind = [(image, name, module) for image in SIDES for name, module in followers().items()]
    networks = [
        (
            network(nn.Conv2d(3, WIDTH, 3, 2, 1), module, 2 * WIDTH if "beside" in name else WIDTH),
            (3, image, image),
        )
        for image, name, module in behind
    ]
    print("\n| image | behind it | int8, ms | float, ms | int8 / float |\n" + "|---" * 5 + "|")
    for (image, name, _), timings in zip(behind, timed(networks, target), strict=True):
        print(row(image, name, timings))


if __name__ == "__main__":
    main()
