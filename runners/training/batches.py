"""Batches whose order and augmentation follow from (seed, epoch, batch) alone: any step can be repeated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from runners.data.balance import check_balanced, drawn_by_class
from runners.tasks import CLASSIFICATION, Task
from runners.training.mixing import Mix
from runners.training.relabelling import Relabelled

Prepare = Callable[[Tensor, torch.Generator | None], Tensor]
"""``prepare(images, generator)`` makes stored images (N, C, H, W) into network input.

With a generator it augments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """What is learned: images, what is known of them, and what is made of both.

    Attributes:
        images: Images as stored, (N, C, H, W), on any device.
        labels: Labels as the task takes them, (N, ...); of classes (N,), int64.
        prepare: Makes stored images into network input.
        mix: Mixes the images of a batch; None leaves them.
        task: What the networks are trained for.
        balance: Share of the way from images drawn once an epoch each, 0, to classes drawn equally often, 1.
        kept: What teachers said of the images before, if it was kept.

    Raises:
        ValueError: another number of labels than images, or than what was kept is of; labels that are not one
            class an image, where classes are to be balanced.
    """

    images: Tensor
    labels: Tensor
    prepare: Prepare
    mix: Mix | None = None
    task: Task = CLASSIFICATION
    balance: float = 0.0
    kept: Relabelled | None = None

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise ValueError(f"{len(self.images)} images came with {len(self.labels)} labels")
        if self.balance:
            check_balanced(self.labels)
        if self.kept is not None and (
            len(self.kept.logits) != len(self.images) or self.kept.prepare != self.prepare
        ):
            raise ValueError(
                f"what was kept of the teachers is of {len(self.kept.logits)} images and "
                f"{self.kept.prepare}; here are {len(self.images)} and {self.prepare}"
            )


def generator(*key: int) -> torch.Generator:
    """A random generator that follows from the key alone."""
    state = np.random.SeedSequence(key).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 32 | int(state[1]))


def batches_per_epoch(n_images: int, batch_size: int) -> int:
    """Whole batches only, at least one: a short last batch would weigh its images more."""
    return max(1, n_images // batch_size)


def batches(
    data: TrainingData, *, batch_size: int, seed: int, epoch: int, start: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """The prepared batches of one epoch in its order, from batch ``start`` on.

    Args:
        data: images and labels; ``prepare`` and ``mix`` are called with a generator of their own for each
            batch. The labels of mixed images come as probabilities, (N, classes).
        batch_size: images in a batch.
        seed: seed of the training.
        epoch: number of the epoch, counted from 0.
        start: batches to pass over, when an interrupted epoch goes on.
    """
    images, labels, mix = data.images, data.labels, data.mix
    order = _order(data, seed, epoch).to(images.device)
    for index in range(start, batches_per_epoch(len(images), batch_size)):
        chosen = order[index * batch_size : (index + 1) * batch_size]
        # index_select copies image by image; indexing does so pixel by pixel.
        stored, target = images.index_select(0, chosen), labels[chosen]
        batch = data.prepare(stored, generator(seed, epoch, index))
        yield mix(batch, target, np.random.default_rng([seed, epoch, index])) if mix else (batch, target)


def _order(data: TrainingData, seed: int, epoch: int) -> Tensor:
    """The images of an epoch in their order, int64 (N,): each once, or those of rarer classes more often."""
    drawing = generator(seed, epoch)
    order = torch.randperm(len(data.images), generator=drawing)
    return drawn_by_class(order, data.labels.cpu(), data.balance, drawing) if data.balance else order


def kept_of(data: TrainingData, *, batch_size: int, seed: int, epoch: int, index: int) -> Tensor | None:
    """What was kept of teachers for a batch as ``batches`` gives it: logits (N, classes), mixed as it is.

    None where nothing was kept.
    """
    if data.kept is None:
        return None
    chosen = _order(data, seed, epoch)[index * batch_size : (index + 1) * batch_size]
    logits = data.kept.of(chosen, generator(seed, epoch, index))
    if data.mix is None:
        return logits
    places = torch.empty(len(chosen), 1, *data.images.shape[2:])  # boxes are of their height and width
    _, mixed = data.mix(places, logits.softmax(1), np.random.default_rng([seed, epoch, index]))
    return mixed.log()


def channels_last(images: Tensor) -> Tensor:
    """The same images laid out channels last, which convolutions on CPU and GPU prefer.

    What is not (N, C, H, W) is returned as it is.
    ``contiguous(memory_format=...)`` leaves single-channel images as they are; this sets their strides too.
    """
    if images.ndim != 4:
        return images
    return images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
