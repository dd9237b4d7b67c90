"""Networks that give further outputs while they are trained, as GoogLeNet and Inception do."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from runners.tasks import Task

WEIGHT = 0.3
"""Weight of each further output's loss on labels.

"Going Deeper with Convolutions" (Szegedy et al., CVPR 2015), section 5."""


def parts(outputs: object) -> tuple[Tensor, ...] | None:
    """The outputs, the network's own first; None where they are neither a tensor nor a tuple of tensors."""
    if isinstance(outputs, Tensor):
        return (outputs,)
    if isinstance(outputs, tuple | list) and outputs and all(isinstance(one, Tensor) for one in outputs):
        return tuple(outputs)
    return None


def loss_of_others(
    others: Sequence[Tensor], targets: Tensor, task: Task, *, label_smoothing: float
) -> Tensor | float:
    """What the further outputs add to a loss: a scalar, 0 where there are none."""
    if not others:
        return 0.0
    losses = [task.loss(one.float(), targets, label_smoothing=label_smoothing) for one in others]
    return WEIGHT * torch.stack(losses).sum()
