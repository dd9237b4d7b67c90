"""Forward and backward of the passes of one step, adding to the gradients."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.distillation import Lecture, distillation_loss
from nas.rules.moment import Pass
from runners.tasks import CLASSIFICATION, Task
from runners.training.auxiliary import loss_of_others, parts
from runners.training.batches import channels_last
from runners.training.precision import autocast
from runners.training.trainable import Trainable


def run_passes(
    trainable: Trainable[Any],
    batch: Tensor,
    targets: Tensor,
    passes: Sequence[Pass],
    *,
    task: Task = CLASSIFICATION,
    label_smoothing: float = 0.0,
    distillation: str = "kl",
    precision: str = "fp32",
    kept: Tensor | None = None,
) -> tuple[Tensor, list[nn.Module]]:
    """Forward and backward of every pass of a step, adding to the gradients.

    Args:
        trainable: whose networks run.
        batch: (N, C, H, W), prepared, on the trainable's device.
        targets: (N,) int64 labels, or (N, classes) probabilities.
        passes: teachers before their students.
        task: has the loss on labels, and says what distillation compares.
        label_smoothing: share of a label's probability that is spread over all classes.
        distillation: loss on a teacher's outputs, one of ``nas.distillation.DISTILLATIONS``.
        precision: ``fp32`` or ``bf16`` (autocast; losses are always in float32).
        kept: what was kept of teachers from outside for these images, logits (N, classes); None asks them.

    Returns:
        The loss of each pass, float32 (passes,), and the networks that ran.

    Raises:
        ValueError: a rule gave no passes, or a student before its teacher; or a network fails.
    """
    _check(passes)
    outputs: list[Tensor] = []
    losses: list[Tensor] = []
    networks: list[nn.Module] = []
    sizes = {tuple(batch.shape[2:]): batch}
    for one in passes:
        network = trainable.subnet(one.arch)
        size = one.resolution or tuple(batch.shape[2:])
        if size not in sizes:
            sizes[size] = scaled(batch, size)
        with autocast(trainable.device, precision), _hearing(one.teacher, network) as features:
            given, *others = _run(network, sizes[size], one)
            told = one.teacher.teaching.told(batch, kept) if isinstance(one.teacher, Lecture) else []
        given = given.float()
        share = one.teacher_weight
        if isinstance(one.teacher, Lecture):
            teaching, progress = one.teacher.teaching, one.teacher.progress
            taught, labels_count = teaching.loss(task.logits(given), features, told, batch, progress=progress)
            share = share if labels_count else 1.0
        elif one.teacher is not None:
            wanted = task.logits(outputs[one.teacher])
            taught = distillation_loss(task.logits(given), wanted, kind=distillation)
        else:
            share = 0.0
        if share < 1:
            loss = task.loss(given, targets, label_smoothing=label_smoothing)
            loss = share * taught + (1 - share) * loss if share else loss
        else:
            loss = taught
        loss = loss + loss_of_others(others, targets, task, label_smoothing=label_smoothing)
        (one.weight * loss).backward()
        outputs.append(given.detach())
        losses.append(loss.detach())
        networks.append(network)
    return torch.stack(losses), networks


def _run(network: nn.Module, images: Tensor, one: Pass) -> tuple[Tensor, ...]:
    """The outputs of a pass's network, its own first.

    Raises:
        ValueError: it raised something, or gave no tensors; names its arch.
    """
    try:
        outputs = network(images)
    except MemoryError:
        raise
    except Exception as error:  # whatever a user's network raises
        said = str(error).strip() or "no message"
        raise ValueError(
            f"in training, the network of arch {one.arch} fails on images of {tuple(images.shape)}: "
            f"{type(error).__name__}: {said}"
        ) from error
    found = parts(outputs)
    if found is None:
        raise ValueError(
            f"in training, the network of arch {one.arch} gives a {type(outputs).__name__}; it has to give "
            f"one tensor, or a tuple of tensors, its own output first"
        )
    return found


@contextlib.contextmanager
def _hearing(teacher: int | Lecture | None, network: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Features of the network, where its teachers come from outside: these see the full images."""
    if not isinstance(teacher, Lecture):
        yield {}
        return
    with teacher.teaching.hearing(network) as features:
        yield features


def _check(passes: Sequence[Pass]) -> None:
    if not passes:
        raise ValueError("the training rule gave no passes; a step needs at least one")
    for index, one in enumerate(passes):
        if isinstance(one.teacher, int) and not 0 <= one.teacher < index:
            raise ValueError(
                f"the training rule lets pass {index} learn from pass {one.teacher}, which has not run by "
                f"then; give teachers before their students"
            )
        if not 0 <= one.teacher_weight <= 1:
            raise ValueError(f"the teacher's weight must be in [0, 1], got {one.teacher_weight}")


def scaled(batch: Tensor, size: tuple[int, ...]) -> Tensor:
    """A batch (N, C, H, W) brought to another (height, width), bilinear and antialiased."""
    return channels_last(F.interpolate(batch, size, mode="bilinear", antialias=True))
