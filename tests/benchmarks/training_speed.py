"""Images per second of a training step: subnets on the shared weights against static networks, on any device.

    python -m tests.benchmarks.training_speed [--device cuda] [--precision bf16] [--compile] [--preset cifar]

For the smallest, a median and the largest network: forward, backward and the optimizer, channels last, on one
batch that stays on the device. Eager, and with ``--compile`` both networks through ``torch.compile``, and the
time that compiling took. Every new subnet would pay that again, and a training draws new ones at every pass,
so training stays eager. Subnet and static network take turns; medians with the ratio's quartiles.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.supernet.supernet import Supernet
from runners.training.batches import channels_last
from search_spaces.space import Arch, SearchSpace
from search_spaces.spaces.presets import PRESETS, preset
from tests.benchmarks.supernet_overhead import archs

_PAIRS = 20
_BLOCK = 5  # steps timed together, so that a GPU's queue is waited for rarely


def main() -> None:
    """Prints the table."""
    options = _options()
    device = torch.device(options.device)
    size = 128 if options.preset == "mobile" else 32
    space = preset(options.preset, classes=10, input_shape=(3, size, size))
    print(
        f"{_name(device)}, {options.precision}, batch of {options.batch}, {options.preset} at {size}x{size}"
    )
    print(
        f"{'network':9} {'way':9} {'static':>12} {'subnet':>12} {'subnet / static time':>24} {'compile':>9}"
    )
    for label, arch in archs(space).items():
        for compiled in (False, True) if options.compile else (False,):
            static, ratios, compiling = measure(
                space, arch, device, options.precision, options.batch, compiled=compiled
            )
            low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
            rate = options.batch / static
            print(
                f"{label:9} {'compiled' if compiled else 'eager':9} {rate:10.0f}/s {rate / middle:10.0f}/s "
                f"{middle:10.3f} [{low:.3f}, {high:.3f}] {compiling:7.1f} s"
            )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Images per second of subnets and static networks")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--preset", choices=sorted(set(PRESETS) - {"digits"}), default="cifar-small")
    parser.add_argument("--batch", type=int, default=128)
    return parser.parse_args()


def _name(device: torch.device) -> str:
    return (
        torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    )


def measure(
    space: SearchSpace, arch: Arch, device: torch.device, precision: str, batch: int, *, compiled: bool
) -> tuple[float, np.ndarray, float]:
    """Seconds of a static step, subnet over static for each pair of blocks, seconds to compile the subnet."""
    supernet = Supernet(space, device=device)
    subnet, static = supernet.subnet(arch), supernet.extract(arch)
    shared = torch.optim.AdamW(supernet.optimizer_groups(0.05), fused=True)
    alone = torch.optim.AdamW(static.parameters(), weight_decay=0.05, fused=True)
    images = channels_last(torch.randn(batch, *space.input_shape(arch), device=device))
    labels = torch.randint(10, (batch,), device=device)
    used = {name for name, _ in subnet.named_parameters()}
    supernet.expose_gradients(used)
    if compiled:
        subnet.compile()
        static.compile()

    def on_subnet() -> None:
        supernet.zero_grad()
        _backward(subnet, images, labels, precision)
        supernet.expose_gradients(used)
        shared.step()

    def on_static() -> None:
        alone.zero_grad()
        _backward(static, images, labels, precision)
        alone.step()

    compiling = _seconds(on_subnet, 1, device)
    for work in (on_static, on_subnet, on_static):
        work()
    pairs = [
        (_seconds(on_subnet, _BLOCK, device), _seconds(on_static, _BLOCK, device)) for _ in range(_PAIRS)
    ]
    ours, theirs = np.array(pairs).T
    return float(np.median(theirs)), ours / theirs, compiling if compiled else 0.0


def _backward(network: nn.Module, images: Tensor, labels: Tensor, precision: str) -> None:
    autocast = (
        torch.autocast(images.device.type, dtype=torch.bfloat16)
        if precision == "bf16"
        else contextlib.nullcontext()
    )
    with autocast:
        logits = network(images)
    F.cross_entropy(logits.float(), labels).backward()


def _seconds(work: Callable[[], None], times: int, device: torch.device) -> float:
    """Of one call, averaged over several, when the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    for _ in range(times):
        work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - began) / times


if __name__ == "__main__":
    main()
