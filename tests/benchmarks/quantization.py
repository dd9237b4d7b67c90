"""What ways of calibration, rounding and training cost in accuracy, on two small networks trained on digits.

Run as ``python -m tests.benchmarks.quantization``. The error is that of the outputs on the validation images,
squared, as a share of their squares, in per mille; it tells ways apart that 497 images cannot. The last lines
are the time of a training step with the rounding simulated, over that of a float one.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from compress.onnx.aware import AwareMethod, integers_in_file, tensor_ranges, train_aware
from compress.onnx.export import export_onnx
from compress.onnx.file import OnnxFile
from compress.onnx.numbers.simulated import simulate
from compress.onnx.numbers.synthetic import images_from_statistics
from compress.onnx.static import Int8, quantize_static

TRAINED = 1300
EPOCHS, EPOCHS_AWARE = 25, 5
AWARE: tuple[tuple[AwareMethod, int], ...] = (
    *(("ranges", 8), ("lsq", 8), ("lsq", 3), ("lsq", 2)),
    ("dorefa", 3),
)
WAYS: dict[str, Int8] = {
    "8 bits, extremes": Int8(),
    "8 bits, percentile": Int8(ranges="percentile"),
    "8 bits, squared error": Int8(ranges="mse"),
    "8 bits, entropy": Int8(ranges="entropy"),
    "8 bits, symmetric": Int8(symmetric=True),
    "8 bits, one scale a weight": Int8(per_channel=False),
    "the same, equalized": Int8(per_channel=False, equalize=True),
    "the same, biases corrected": Int8(per_channel=False, correct_bias=True),
    "4 bits, nearest": Int8(weight_bits=4),
    "4 bits, biases corrected": Int8(weight_bits=4, correct_bias=True),
    "4 bits, adaptive": Int8(weight_bits=4, rounding="adaptive", rounding_steps=300),
    "3 bits, nearest": Int8(weight_bits=3),
    "3 bits, adaptive": Int8(weight_bits=3, rounding="adaptive", rounding_steps=300),
}


class Separable(nn.Module):
    """An inverted residual block."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        hidden = 3 * inputs
        self.body = nn.Sequential(
            *(nn.Conv2d(inputs, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU()),
            *(nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False), nn.BatchNorm2d(hidden)),
            *(nn.ReLU(), nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs)),
        )
        self.passes = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.body(x)
        return x + made if self.passes else made


class Residual(nn.Module):
    """Two 3x3 convolutions with norms."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()),
            *(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)),
        )
        alike = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if alike else nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = (self.body(x) + self.shortcut(x)).relu()
        return result


def network_of(block: Callable[[int, int, int], nn.Module]) -> nn.Module:
    stem = [nn.Conv2d(1, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24), nn.ReLU()]
    blocks = [block(24, 24, 1), block(24, 48, 2), block(48, 48, 1)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 10))


def train_on(module: nn.Module, images: Tensor, labels: Tensor, epochs: int, rate: float) -> nn.Module:
    optimizer = torch.optim.AdamW(module.parameters(), rate)
    steps = epochs * -(-len(images) // 100)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    order = torch.Generator().manual_seed(0)
    module.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(images), generator=order).split(100):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(images[batch]), labels[batch]).backward()
            optimizer.step()
            schedule.step()
    return module.eval()


def _say(way: str, accuracy: float, error: float | None, seconds: float) -> None:
    told = "-" if error is None else f"{1e3 * error:.2f}"  # a network that was trained on is another
    print(f"  {way:<34} {accuracy:7.2%} {told:>10} {seconds:8.1f} s", flush=True)


def _judge(file: Path, images: np.ndarray, labels: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    got = OnnxFile(file)(images)
    return float((got.argmax(1) == labels).mean()), float(((got - right) ** 2).sum() / (right**2).sum())


def _report(name: str, network: nn.Module, folder: Path) -> None:
    digits = load_digits()
    images = (digits.images[:, None] / 16).astype(np.float32)
    labels = digits.target.astype(np.int64)
    train = torch.from_numpy(images[:TRAINED]), torch.from_numpy(labels[:TRAINED])
    held = images[TRAINED:], labels[TRAINED:]
    train_on(network, *train, EPOCHS, 1e-2)
    source, file = folder / "float.onnx", folder / "int8.onnx"
    export_onnx(network, (1, 8, 8), source)
    right = OnnxFile(source)(held[0])
    print(f"{name}: {float((right.argmax(1) == held[1]).mean()):.2%} in float")
    print(f"  {'way':<34} {'accuracy':>7} {'error':>9}")
    for way, how in WAYS.items():
        began = time.perf_counter()
        quantize_static(source, images[:256], file, how)
        _say(way, *_judge(file, *held, right), time.perf_counter() - began)
    began = time.perf_counter()
    quantize_static(source, images_from_statistics(network, (1, 8, 8)), file)
    _say("8 bits, extremes, without data", *_judge(file, *held, right), time.perf_counter() - began)
    for method, bits in AWARE:
        began = time.perf_counter()
        aware = train_aware(
            network,
            lambda module: train_on(module, *train, EPOCHS_AWARE, 2e-3),
            method=method,
            weight_bits=bits,
        )
        exported = folder / "aware.onnx"
        export_onnx(aware.network, (1, 8, 8), exported)
        quantize_static(
            exported,
            images[:256],
            file,
            known_ranges=tensor_ranges(exported, aware.network, aware.input_ranges),
            known_integers=integers_in_file(exported, aware.network, aware.integers),
        )
        accuracy, _ = _judge(file, *held, right)
        _say(f"trained by {method}, {bits} bits", accuracy, None, time.perf_counter() - began)


def _step_times() -> None:
    """A training step on 32x32 images with rounding simulated over a float one: least of rounds, in turns."""
    images, labels = torch.randn(32, 1, 32, 32), torch.randint(10, (32,))
    for name, block in (("residual", Residual), ("separable", Separable)):
        networks = {method: network_of(block).train() for method in ("float", "lsq", "dorefa")}
        for method in ("lsq", "dorefa"):
            kinds = (nn.Conv2d, nn.Linear)
            simulate(networks[method], kinds, method, weight_bits=4, input_bits=4)  # type: ignore[arg-type]
        times = {method: float("inf") for method in networks}
        for _ in range(12):
            for method, network in networks.items():
                began = time.process_time()
                network.zero_grad()
                nn.functional.cross_entropy(network(images), labels).backward()
                times[method] = min(times[method], time.process_time() - began)
        told = ", ".join(f"{method} {times[method] / times['float']:.2f}" for method in ("lsq", "dorefa"))
        print(f"{name}: {1e3 * times['float']:.0f} ms a step in float; times as long by {told}", flush=True)


def main() -> None:
    """Prints the tables of docs/compression.md."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        _report("residual", network_of(Residual), Path(folder))
        _report("separable", network_of(Separable), Path(folder))
    _step_times()


if __name__ == "__main__":
    main()
