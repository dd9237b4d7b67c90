"""What compression gains on this machine's CPU: speed against MACs for pruning, int8 by sets of operators.

Run as ``python -m tests.benchmarks.compression_speed``; weights are random, so only time is measured here.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch_pruning as tp
from torch import Tensor, nn

from compress.onnx.export import export_onnx
from compress.onnx.file import OnnxFile
from compress.onnx.static import OPERATORS, Int8, quantize_static
from compress.onnx.times import operator_times
from compress.pruning.prune import prune
from compress.why import explain
from search_spaces.spaces.presets import preset

REPEATS = 200
COUNT_STEPS = (8, 16)


class _BasicBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (out + self.shortcut(x)).relu()


def resnet18() -> nn.Module:
    """ResNet-18's body on 32x32 images."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    widths = [64, 64, 128, 256, 512]
    for index, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        layers += [_BasicBlock(inputs, outputs, 2 if index else 1), _BasicBlock(outputs, outputs, 1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def _metaformer(mixer: str) -> nn.Module:
    space = preset("cifar", classes=10, input_shape=(3, 32, 32), mixers=(mixer,))
    return space.build(space.largest())


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "ResNet-18, 32x32": resnet18,
    "MetaFormer, depthwise 7x7": lambda: _metaformer("depthwise"),
    "MetaFormer, attention": lambda: _metaformer("attention"),
    "MetaFormer, pooling": lambda: _metaformer("pooling"),
}


def latencies_ms(files: Sequence[Path], image: np.ndarray) -> list[float]:
    """Medians of single calls on one thread, the files taking turns."""
    runs = [OnnxFile(file) for file in files]
    times = np.zeros((len(files), REPEATS))
    for repeat in range(-10, REPEATS):
        for index, run in enumerate(runs):
            began = time.perf_counter()
            run(image)
            if repeat >= 0:
                times[index, repeat] = time.perf_counter() - began
    return [float(value) * 1000 for value in np.median(times, axis=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One network's rows."""

    pruning: list[str]
    int8: str
    reasons: list[str]


def figures(name: str, network: nn.Module, folder: Path) -> Figures:
    """Prunes, quantizes and times one network."""
    example = torch.rand(1, 3, 32, 32)
    images = np.random.default_rng(0).random((64, 3, 32, 32), np.float32)
    whole, began = folder / "whole.onnx", time.perf_counter()
    export_onnx(network, example, whole)
    export_s = time.perf_counter() - began
    halves, files = {}, {}
    for step in COUNT_STEPS:
        began = time.perf_counter()
        pruned = prune(network, example, keep=0.5, counts=step).network
        prune_s, fewer = time.perf_counter() - began, _macs(network, example) / _macs(pruned, example)
        halves[step] = (folder / f"half{step}.onnx", fewer, prune_s)
        export_onnx(pruned, example, halves[step][0])
    began = time.perf_counter()
    for label, operators in OPERATORS.items():
        files[label] = folder / f"{label}.onnx"
        quantize_static(whole, images, files[label], Int8(operators=operators))
    quantize_s = (time.perf_counter() - began) / len(OPERATORS)
    paths = [whole, *(path for path, _, _ in halves.values()), *files.values()]
    before, *after = latencies_ms(paths, images[:1])
    pruning = [
        f"| {name} | {step} | {fewer:.2f}x fewer | {before:.3f} to {time_ms:.3f} ms, "
        f"{before / time_ms:.2f}x | {before / time_ms / fewer:.2f} | {export_s:.1f} | {prune_s:.1f} |"
        for (step, (_, fewer, prune_s)), time_ms in zip(halves.items(), after, strict=False)
    ]
    int8 = after[len(halves) :]
    cells = " | ".join(f"{value:.3f} ({before / value:.2f}x)" for value in int8)
    reasons = []
    if int8[0] > 1.05 * min(before, *int8[1:]):
        old, new = (operator_times(file, images[:1]) for file in (whole, files["every operator"]))
        sentences = explain(old, new, network)
        reasons = [f"{name}, int8 for every operator:", *(f"- {line}" for line in sentences)]
    return Figures(
        pruning=pruning, int8=f"| {name} | {before:.3f} | {cells} | {quantize_s:.1f} |", reasons=reasons
    )


def main() -> None:
    """Prints two tables, and what slows the int8 files that are slower than they could be."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    found = []
    for name, make in NETWORKS.items():
        with tempfile.TemporaryDirectory() as folder:
            found.append(figures(name, make().eval(), Path(folder)))
    print("| network | counts | MACs | latency | speed-up / MAC reduction | export s | prune s |")
    print("|---|---|---|---|---|---|---|")
    print(*(row for each in found for row in each.pruning), sep="\n")
    print(f"\n| network | fp32 ms | {' | '.join(OPERATORS)} | quantize s |")
    print("|---" * (len(OPERATORS) + 3) + "|")
    print(*(each.int8 for each in found), sep="\n", end="\n\n")
    print(*(line for each in found for line in each.reasons), sep="\n")


def _macs(network: nn.Module, example: Tensor) -> float:
    return float(tp.utils.count_ops_and_params(network, example)[0])


if __name__ == "__main__":
    main()
