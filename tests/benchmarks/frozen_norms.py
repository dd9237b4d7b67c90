"""Training behind frozen norms: time of a step and bytes that it keeps, beside the two other ways.

    python -m tests.benchmarks.frozen_norms

The largest ResNet of tests/spaces.py, batch 32: BatchNorms by the statistics of the batch, by their own in
eval mode, and by their own folded into the convolutions on the way. Time is the processor's, the median of
rounds, in turns.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from compress.tuning.frozen_norms import frozen_norms
from runners.training.threads import computing_with
from tests.spaces import resnet_space

ROUNDS = 5


@contextmanager
def in_eval_mode(network: nn.Module) -> Iterator[nn.Module]:
    """All norms in eval mode, the rest in training mode."""
    network.train()
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
    yield network
    network.train()


@contextmanager
def trained(network: nn.Module) -> Iterator[nn.Module]:
    """The network in training mode."""
    yield network.train()


def kept_bytes(network: nn.Module, images: Tensor) -> int:
    """Bytes of all that a forward pass keeps, each storage once, but for parameters."""
    own = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = network(images).sum()
    del loss
    return sum(kept.values())


def step_s(network: nn.Module, images: Tensor) -> float:
    """Processor's seconds of a forward and a backward pass."""
    began = time.process_time()
    F.cross_entropy(network(images), torch.zeros(len(images), dtype=torch.int64)).backward()
    return time.process_time() - began


def main() -> None:
    """Prints a row for each way."""
    space = resnet_space()
    network, images = space.build(space.largest()), torch.randn(32, *space.input_shape(space.largest()))
    ways: dict[str, Callable[[nn.Module], object]] = {
        "statistics of the batch": trained,
        "eval mode": in_eval_mode,
        "frozen, folded on the way": frozen_norms,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    kept = {}
    with computing_with(1):
        for _ in range(ROUNDS + 1):
            for name, way in ways.items():
                with way(network) as ready:  # type: ignore[attr-defined]
                    kept[name] = kept_bytes(ready, images)
                    seconds[name].append(step_s(ready, images))
    first = statistics.median(seconds["statistics of the batch"][1:])
    print("| BatchNorms | time of a step | kept for the backward pass |\n|---|---|---|")
    for name, found in seconds.items():
        share = statistics.median(found[1:]) / first
        print(f"| {name} | {share:.2f} | {kept[name] / 2**20:.1f} MiB |")


if __name__ == "__main__":
    main()
