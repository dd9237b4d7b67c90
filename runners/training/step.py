"""Forward and backward of the passes of one step, adding into the supernet's shared gradient."""

from __future__ import annotations

import contextlib

import torch
import torch.nn.functional as F
from torch import Tensor

from nas.distillation import DISTILLATIONS
from nas.rules.moment import Pass
from nas.supernet.supernet import Supernet
from runners.training.batches import channels_last


def run_passes(
    supernet: Supernet,
    batch: Tensor,
    target: Tensor,
    passes: list[Pass],
    *,
    label_smoothing: float = 0.0,
    distillation: str = "kl",
    precision: str = "fp32",
) -> tuple[list[float], set[str]]:
    """Forward and backward of every pass of a step, adding into the shared gradient.

    Args:
        supernet: whose subnets run.
        batch: (N, C, H, W), prepared, on the supernet's device.
        target: (N,) int64 labels, or (N, classes) probabilities.
        passes: teachers before their students.
        label_smoothing: of the losses on labels.
        distillation: one of ``nas.distillation.DISTILLATIONS``, of the losses on a teacher's outputs.
        precision: ``fp32`` or ``bf16`` (autocast; losses are always in float32).

    Returns:
        The loss of each pass, and the names of the parameters that took part.

    Raises:
        ValueError: a rule gave no passes, or a student before its teacher.
    """
    _check(passes)
    outputs: list[Tensor] = []
    losses: list[Tensor] = []
    used: set[str] = set()
    autocast = (
        torch.autocast(supernet.device.type, dtype=torch.bfloat16)
        if precision == "bf16"
        else contextlib.nullcontext()
    )
    sizes = {tuple(batch.shape[2:]): batch}
    for one in passes:
        network = supernet.subnet(one.arch)
        size = one.resolution or tuple(batch.shape[2:])
        if size not in sizes:
            sizes[size] = scaled(batch, size)
        with autocast:
            logits = network(sizes[size])
        logits = logits.float()
        if one.teacher is None:
            loss = F.cross_entropy(logits, target, label_smoothing=label_smoothing)
        else:
            loss = DISTILLATIONS[distillation](logits, outputs[one.teacher])
        (one.weight * loss).backward()
        outputs.append(logits.detach())
        losses.append(loss.detach())
        used.update(name for name, _ in network.named_parameters())
    return torch.stack(losses).tolist(), used  # one transfer from the device for all


def _check(passes: list[Pass]) -> None:
    if not passes:
        raise ValueError("the training rule gave no passes; a step needs at least one")
    for index, one in enumerate(passes):
        if one.teacher is not None and not 0 <= one.teacher < index:
            raise ValueError(
                f"the training rule lets pass {index} learn from pass {one.teacher}, which has not run by "
                f"then; give teachers before their students"
            )


def scaled(batch: Tensor, size: tuple[int, ...]) -> Tensor:
    """A batch (N, C, H, W) brought to another (height, width), bilinear and antialiased."""
    return channels_last(F.interpolate(batch, size, mode="bilinear", antialias=True))
