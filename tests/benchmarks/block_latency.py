"""What the blocks of convolutional stages cost on this machine's CPU, in fp32 and in int8.

    python -m tests.benchmarks.block_latency

A minute or two on one core that has nothing else to do. For each kind of block a network of three stages, one
block in each, for images of 32x32 with a stem of stride 2, is timed in ONNX Runtime, one thread, batch 1, as
an exported file and as the same file with every operator in int8. It prints the table of docs/spaces.md.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

from compress.onnx.static import quantize_static
from compress.target import Target
from runners.targets.profile import load_profile
from runners.targets.target import open_target
from search_spaces.operations.operation import Options
from search_spaces.reference.macs import count_macs
from search_spaces.spaces.convnet import ConvNet, ConvStage, convnet

SHAPE = (3, 32, 32)
WIDTHS = ((16, 32, 64), (32, 64, 128), (64, 128, 256))
KINDS: dict[str, tuple[str, Options]] = {
    "`residual`": ("residual", {"residual": {"gate": "none"}}),
    "`residual`, gate `se`": ("residual", {"residual": {"gate": "se"}}),
    "`residual`, gate `eca`": ("residual", {"residual": {"gate": "eca"}}),
    "`grouped`, groups of 8": ("grouped", {"grouped": {"gate": "none"}}),
    "`mbconv`, expansion 4": ("mbconv", {"mbconv": {"kernel": 3, "expansion": 4, "gate": "none"}}),
    "`mbconv`, gate `se`": ("mbconv", {"mbconv": {"kernel": 3, "expansion": 4, "gate": "se"}}),
    "`fused_mbconv`, expansion 2": ("fused_mbconv", {"fused_mbconv": {"expansion": 2, "gate": "none"}}),
    "`convnext`, ratio 4": ("convnext", {"convnext": {"kernel": 7, "ratio": 4}}),
    "`depthwise`, ratio 2": ("depthwise", {"depthwise": {"kernel": 3, "ratio": 2}}),
    "`attention`, ratio 2": ("attention", {"attention": {"ratio": 2}}),
}


def write(kind: str, widths: tuple[int, ...], target: Target, folder: Path) -> tuple[Path, Path, float]:
    """The float file and the int8 file of a network, and its million multiply-accumulates."""
    block, options = KINDS[kind]
    stages = tuple(
        ConvStage(widths=(width,), depths=(1,), blocks=(block,), stride=2 if at else 1, options=options)
        for at, width in enumerate(widths)
    )
    space = convnet(
        "timed", ConvNet(stages=stages, stem_strides=(2,)), classes=10, input_shape=SHAPE, activation="relu"
    )
    network = space.build(space.largest()).eval()
    images = np.random.default_rng(0).standard_normal((64, *SHAPE)).astype(np.float32)
    name = f"{len(list(folder.iterdir()))}"
    plain, small = folder / f"{name}.onnx", folder / f"{name}-int8.onnx"
    target.export(network, SHAPE, plain)
    quantize_static(plain, images, small)
    return plain, small, count_macs(network, SHAPE) / 1e6


def main() -> None:
    torch.manual_seed(0)
    target = open_target(load_profile("cpu-ort"))
    cases = [(kind, widths) for kind in KINDS for widths in WIDTHS]
    with tempfile.TemporaryDirectory() as folder:
        made = [write(*case, target, Path(folder)) for case in cases]
        files = [file for plain, small, _ in made for file in (plain, small)]
        timings = target.measure(files, budget_s=len(files) * 1.0)
    print("| block | " + " | ".join("-".join(map(str, widths)) for widths in WIDTHS) + " |")
    print("|---" * (1 + len(WIDTHS)) + "|")
    for at, kind in enumerate(KINDS):
        cells = []
        for place in range(at * len(WIDTHS), (at + 1) * len(WIDTHS)):
            plain, small = (timing.median_ms for timing in timings[2 * place : 2 * place + 2])
            cells.append(f"{plain:.3f}, {small:.3f} ({made[place][2]:.1f})")
        print(f"| {kind} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
