"""Forward and backward of the passes of one step, adding to the gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.distillation import distillation_loss
from nas.rules.moment import Pass, Teacher
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
        with autocast(trainable.device, precision):
            given, *others = _run(network, sizes[size], one)
            wanted = _wanted(one.teacher, outputs, batch)
        given = given.float()
        share = one.teacher_weight
        if wanted is None:
            loss = task.loss(given, targets, label_smoothing=label_smoothing)
        else:
            student, teacher = task.logits(given), task.logits(wanted.float())
            loss = distillation_loss(student, teacher, kind=distillation, temperature=one.temperature)
            if share < 1:
                on_labels = task.loss(given, targets, label_smoothing=label_smoothing)
                loss = share * loss + (1 - share) * on_labels
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


@torch.no_grad()
def _wanted(teacher: int | Teacher | None, outputs: Sequence[Tensor], batch: Tensor) -> Tensor | None:
    """What a pass's teacher gives; None where it has none. A teacher from outside sees the full images."""
    if teacher is None:
        return None
    if isinstance(teacher, int):
        return outputs[teacher]
    given: Tensor = teacher(batch)
    return given


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
