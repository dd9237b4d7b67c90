"""One of several classes for each image."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from results.statistics import top1
from runners.tasks.task import TASKS, Task


@TASKS.register("classification")
@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """One of several classes for each image; a network gives a logit for each class, (N, classes)."""

    def loss(self, outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Cross-entropy of logits (N, classes) with labels (N,) or probabilities (N, classes)."""
        return F.cross_entropy(outputs, targets, label_smoothing=label_smoothing)

    def score(self, outputs: Tensor, targets: Tensor) -> float:
        """Top-1 accuracy of logits (N, classes) with labels (N,).

        Raises:
            ValueError: as ``results.statistics.top1``.
        """
        return top1(outputs, targets)

    def problem(self, outputs: object, classes: int) -> str:
        """What is wrong with the outputs for two images; empty where they are logits (2, classes)."""
        found = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        if found == (2, classes):
            return ""
        return (
            f"makes {found} of two images, and the data have {classes} classes; it has to give a tensor "
            f"(images, {classes})"
        )

    def logits(self, outputs: Tensor) -> Tensor:
        """The outputs themselves."""
        return outputs


CLASSIFICATION: Task = Classification()
"""The task of a recipe that names none."""
