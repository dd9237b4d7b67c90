"""A task of somebody else's: classes count alike, however rare; the loss is weighted, the score balanced."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from runners.tasks import TASKS, Classification


@TASKS.register("balanced")
@dataclass(frozen=True, slots=True, kw_only=True)
class Balanced(Classification):
    """Classification where rare classes count as much as frequent ones.

    Attributes:
        weights: Weight of each class in the loss.
    """

    weights: tuple[float, ...]

    @property
    def metric(self) -> str:
        return "mean recall"

    def loss(self, outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        weight = torch.tensor(self.weights, device=outputs.device)
        return F.cross_entropy(outputs, targets, weight, label_smoothing=label_smoothing)

    def score(self, outputs: Tensor, targets: Tensor) -> float:
        right = outputs.argmax(dim=1) == targets
        return float(torch.stack([right[targets == one].float().mean() for one in targets.unique()]).mean())

    def problem(self, outputs: object, classes: int) -> str:
        if not isinstance(outputs, Tensor) or classes != len(self.weights):
            return f"has to tell {classes} classes apart, and task.weights has {len(self.weights)}"
        return ""
