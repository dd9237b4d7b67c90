"""Batches whose order and augmentation follow from (seed, epoch, batch) alone: any step can be repeated."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from runners.training.mixing import Mix

Prepare = Callable[[Tensor, torch.Generator | None], Tensor]
"""``prepare(images, generator)`` makes stored images (N, C, H, W) into network input.

With a generator it augments."""


def generator(*key: int) -> torch.Generator:
    """A random generator that follows from the key alone."""
    state = np.random.SeedSequence(key).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 32 | int(state[1]))


def batches_per_epoch(n_images: int, batch_size: int) -> int:
    """Whole batches only, at least one: a short last batch would weigh its images more."""
    return max(1, n_images // batch_size)


def batches(
    images: Tensor,
    labels: Tensor,
    prepare: Prepare,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    start: int = 0,
    mix: Mix | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """The prepared batches of one epoch in its order, from batch ``start`` on.

    Args:
        images: (N, C, H, W) as stored.
        labels: (N,), int64.
        prepare: see ``Prepare``; called with a generator of its own for each batch.
        batch_size: images a batch.
        seed: of the training.
        epoch: counted from 0.
        start: batches to pass over, when an interrupted epoch goes on.
        mix: mixes prepared images; their labels then come as probabilities, (N, classes).
    """
    order = torch.randperm(len(images), generator=generator(seed, epoch))
    for index in range(start, batches_per_epoch(len(images), batch_size)):
        chosen = order[index * batch_size : (index + 1) * batch_size]
        chosen = chosen.to(images.device)
        batch, target = prepare(images[chosen], generator(seed, epoch, index)), labels[chosen]
        yield mix(batch, target, np.random.default_rng([seed, epoch, index])) if mix else (batch, target)


def channels_last(images: Tensor) -> Tensor:
    """The same images laid out channels last, which convolutions on CPU and GPU prefer.

    ``contiguous(memory_format=...)`` leaves single-channel images as they are; this sets their strides too.
    """
    return images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
