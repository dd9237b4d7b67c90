"""What a subnet costs beyond the same static network: training step, and building its skeleton.

    python -m tests.benchmarks.supernet_overhead

Prints, for the smallest, a median and the largest network of three spaces, the time of a training step
(forward, backward, optimizer) on the subnet over that on the extracted network, whose optimizer also holds a
static network as big as the largest; medians of interleaved steps with their quartiles.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from nas.supernet import Supernet
from search_spaces.space import Arch, SearchSpace
from tests.spaces import SPACES

_ROUNDS = 40
_BATCH = 32


def main() -> None:
    """Prints the tables."""
    torch.set_num_threads(1)
    print(f"{'space':8} {'network':9} {'step, subnet / static':>24} {'built before':>14} {'not before':>12}")
    for name in ("digits", "cifar", "resnet"):
        space = SPACES[name]()
        for label, arch in archs(space).items():
            ratios = step_ratios(space, arch)
            again, first = building_ms(space, arch)
            low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
            print(
                f"{name:8} {label:9} {middle:9.3f} [{low:.3f}, {high:.3f}] {again:11.2f} ms {first:9.2f} ms"
            )


def archs(space: SearchSpace) -> dict[str, Arch]:
    """The smallest, the largest, and the one with the median number of parameters of 21 random ones."""
    drawn = [space.to_arch(row) for row in space.sample(21, np.random.default_rng(0))]
    drawn.sort(key=lambda arch: sum(p.numel() for p in space.build(arch).parameters()))
    return {"smallest": space.smallest(), "median": drawn[10], "largest": space.largest()}


def step_ratios(space: SearchSpace, arch: Arch) -> np.ndarray:
    """Subnet over static for each interleaved pair of steps."""
    supernet = Supernet(space)
    subnet, static, largest = supernet.subnet(arch), supernet.extract(arch), supernet.extract(space.largest())
    images = torch.randn(_BATCH, *space.input_shape(arch))
    shared = torch.optim.AdamW(supernet.optimizer_groups(0.05), fused=True)
    # A static network of its own takes an optimizer of its own; the comparison is with one that steps as
    # many parameters as this network has, out of as many as the largest holds.
    alone = torch.optim.AdamW([*static.parameters(), *largest.parameters()], fused=True)
    used = {name for name, _ in subnet.named_parameters()}

    def on_subnet() -> None:
        supernet.zero_grad()
        loss(subnet, images).backward()
        supernet.expose_gradients(used)
        shared.step()

    def on_static() -> None:
        alone.zero_grad(set_to_none=False)
        loss(static, images).backward()
        alone.step()

    for _ in range(3):
        on_subnet()
        on_static()
    pairs = [(seconds(on_subnet), seconds(on_static)) for _ in range(_ROUNDS)]
    return np.array([first / second for first, second in pairs])


def loss(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Some loss with gradients everywhere."""
    return F.log_softmax(network(images).flatten(1), dim=1).square().mean()


def building_ms(space: SearchSpace, arch: Arch) -> tuple[float, float]:
    """Milliseconds to build a subnet whose shapes were seen before, and one whose were not."""
    supernet = Supernet(space)
    first = seconds(lambda: supernet.subnet(arch))
    again = [seconds(lambda: supernet.subnet(arch)) for _ in range(20)]
    return float(np.median(again)) * 1e3, first * 1e3


def seconds(work: Callable[[], object]) -> float:
    """What a call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
