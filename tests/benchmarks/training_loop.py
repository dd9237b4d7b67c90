"""Time of a training step of our loop against one written by hand, for one network on one CPU core.

    python -m tests.benchmarks.training_loop [--batch 128] [--rounds 12]

A thin ResNet (3x3 stem of stride 2, three residual blocks of two dense 3x3 convolutions, widths 16, 32, 64)
on images of CIFAR-10's size. By hand is what one would write: channels last, bf16 where the processor has it,
the fused AdamW, cross-entropy, a random crop and flip of each image; no clipping, no checks, no resuming.
Both take turns, in blocks of steps, and keep freed memory. What counts is the CPU time of the one thread, so
that other programs hardly disturb: medians of a step, the ratio's quartiles over the rounds. ``one network``
is what fine-tuning trains, ``shared weights`` a network trained alone, in a supernet of one.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.supernet.supernet import Supernet
from results.records import Preprocessing
from runners.data.splits import Prepare
from runners.training.batches import TrainingData
from runners.training.loop import train
from runners.training.memory import keep_freed_memory
from runners.training.precision import autocast, has_bf16
from runners.training.settings import TrainSettings
from runners.training.standalone import alone
from runners.training.trainable import OneNetwork, SharedWeights, Trainable
from runners.training.watch import Watch
from search_spaces.choice import Choice
from search_spaces.parts import ConvNorm, Head
from search_spaces.space import SearchSpace

_BLOCK = 12  # steps of a turn
_WARM = 4  # first steps of a turn, which do not count
_SIZE, _PADDING = 32, 4


class Block(nn.Module):
    """A residual block of two dense 3x3 convolutions."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = ConvNorm(inputs, outputs, 3, stride=stride, activation="relu")
        self.second = ConvNorm(outputs, outputs, 3)
        same = inputs == outputs and stride == 1
        self.skip = nn.Identity() if same else ConvNorm(inputs, outputs, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(self.first(x)) + self.skip(x))


def thin_resnet() -> nn.Module:
    """The network that is trained."""
    blocks = (Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2))
    return nn.Sequential(ConvNorm(3, 16, 3, stride=2, activation="relu"), *blocks, Head(64, 10))


class _DoneError(Exception):
    """A turn is over."""


def _by_hand(images: Tensor, labels: Tensor, batch: int) -> Iterator[None]:
    network = thin_resnet().train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.05, fused=True)
    bf16 = has_bf16(torch.device("cpu"))
    while True:
        order = torch.randperm(len(images))
        for chosen in order.split(batch):
            x = _augmented(images[chosen]).contiguous(memory_format=torch.channels_last)
            with autocast(x.device, "bf16" if bf16 else "fp32"):
                outputs = network(x)
            F.cross_entropy(outputs.float(), labels[chosen]).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            yield


def _augmented(images: Tensor) -> Tensor:
    """Crops and flips as they are written by hand: image by image."""
    padded = F.pad(images, (_PADDING,) * 4)
    moves = torch.randint(0, 2 * _PADDING + 1, (len(images), 2)).tolist()
    crops = torch.stack(
        [
            one[:, row : row + _SIZE, column : column + _SIZE]
            for one, (row, column) in zip(padded, moves, strict=True)
        ]
    )
    mirrored = torch.rand(len(images)) < 0.5
    crops[mirrored] = crops[mirrored].flip(3)
    return crops.float().div_(255).sub_(0.5).div_(0.25)


def _turn_by_hand(steps: Iterator[None]) -> float:
    ends = []
    for _ in range(_BLOCK):
        next(steps)
        ends.append(time.thread_time())
    return float(np.median(np.diff(ends[_WARM - 1 :])))


def _turn(trainable: Trainable[object], data: TrainingData, settings: TrainSettings) -> float:
    ends: list[float] = []

    def on_step(*_: int) -> None:
        ends.append(time.thread_time())
        if len(ends) == _BLOCK:
            raise _DoneError

    with contextlib.suppress(_DoneError):
        train(trainable, data, settings, rule=alone, seed=0, watch=Watch(step=on_step))
    return float(np.median(np.diff(ends[_WARM - 1 :])))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="Our training loop against one by hand")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=12)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # for both
    images = torch.randint(0, 256, (options.batch * 16, 3, _SIZE, _SIZE), dtype=torch.uint8)
    labels = torch.randint(0, 10, (len(images),))
    look = Preprocessing(channels=3, height=_SIZE, width=_SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)
    prepare = Prepare(preprocessing=look, crop_padding=_PADDING, flip=True)
    data = TrainingData(images=images, labels=labels, prepare=prepare)
    settings = TrainSettings(
        epochs=10,
        batch_size=options.batch,
        learning_rate=1e-3,
        weight_decay=0.05,
        warmup_epochs=0,
        label_smoothing=0.0,
        gradient_clip=1.0,
        average_decay=0.0,
        precision="auto",
    )
    space = SearchSpace(
        "thin", [Choice("width", (16,))], lambda arch: thin_resnet(), input_shape=(3, _SIZE, _SIZE)
    )
    ways: dict[str, Callable[[], Trainable[object]]] = {
        "one network": lambda: OneNetwork(thin_resnet()),
        "shared weights": lambda: SharedWeights(Supernet(space)),
    }
    hand = _by_hand(images, labels, options.batch)
    times: dict[str, list[float]] = {name: [] for name in ("by hand", *ways)}
    for _ in range(options.rounds):
        times["by hand"].append(_turn_by_hand(hand))
        for name, make in ways.items():
            times[name].append(_turn(make(), data, settings))
    theirs = np.array(times["by hand"])
    print(f"one thread, {'bf16' if has_bf16(torch.device('cpu')) else 'fp32'}, batch of {options.batch}")
    print(f"{'loop':15} {'ms a step':>10} {'images a second':>16} {'speed against by hand':>28}")
    for name, seconds in times.items():
        low, middle, high = np.quantile(theirs / np.array(seconds), [0.25, 0.5, 0.75])
        each = float(np.median(seconds))
        rate = options.batch / each
        print(f"{name:15} {1000 * each:10.2f} {rate:16.0f} {middle:12.3f} [{low:.3f}, {high:.3f}]")


if __name__ == "__main__":
    main()
