"""One of several classes for each image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from results.records import Answer
from results.statistics import top1
from runners.tasks.metrics import f1, mean_recall
from runners.tasks.task import TASKS, Task, shape_problem
from runners.tasks.weights import ClassWeights, tensor_of, weights_of


@TASKS.register("classification")
@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """One of several classes for each image; a network gives a logit for each class, (N, classes).

    Attributes:
        class_weights: Weight of each class in the loss: ``equal``, ``balanced`` (a class with half as
            many images has twice the weight) or by name, ``{ cat = 3 }``, the others 1.
        score_by: Score: ``accuracy``, ``recall`` (mean over the classes of the share of their images that are
            recognized: balanced accuracy) or ``f1`` (mean over the classes).
    """

    class_weights: ClassWeights = "equal"
    score_by: Literal["accuracy", "recall", "f1"] = "accuracy"

    @property
    def metric(self) -> str:
        """Name of the score."""
        return {"accuracy": "accuracy", "recall": "mean recall", "f1": "mean F1"}[self.score_by]

    @property
    def answer(self) -> Answer:
        """The class of the largest output."""
        return Answer(kind="class")

    def outputs(self, classes: int) -> int:
        """One for each class."""
        return classes

    def fitted(self, labels: Tensor, classes: Sequence[str]) -> Task:
        """The task with the weights of its classes.

        Raises:
            ValueError: labels that are not one class an image, fewer than two classes, or a class without
                images; a weight of a class that is not there.
        """
        counts = class_counts(labels, classes)
        balanced = (len(labels) / (len(classes) * counts.double())).tolist()
        return replace(self, class_weights=weights_of(self.class_weights, balanced, classes))

    def loss(self, outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Cross-entropy of logits (N, classes) with labels (N,) or probabilities (N, classes)."""
        if self.class_weights == "equal":
            return F.cross_entropy(outputs, targets, label_smoothing=label_smoothing)
        weight = tensor_of(self.class_weights, outputs)
        if targets.ndim == 1:  # with probabilities the mean is over images, and not over their weights
            targets = F.one_hot(targets, outputs.shape[1]).to(outputs.dtype)
        return F.cross_entropy(outputs, targets, weight, label_smoothing=label_smoothing)

    def score(self, outputs: Tensor, targets: Tensor) -> float:
        """Score of logits (N, classes) with labels (N,).

        Raises:
            ValueError: as ``results.statistics.top1``.
        """
        accuracy = top1(outputs, targets)
        if self.score_by == "accuracy":
            return accuracy
        predicted = outputs.argmax(1)
        if self.score_by == "recall":
            return mean_recall(predicted, targets)
        places = torch.arange(outputs.shape[1], device=outputs.device)
        said, there = predicted[:, None] == places, targets[:, None] == places
        return float(f1(said, there)[there.any(0)].mean())

    def problem(self, outputs: object, classes: int) -> str:
        """What is wrong with the outputs for two images; empty where they are logits (2, classes)."""
        return shape_problem(outputs, classes, classes)

    def logits(self, outputs: Tensor) -> Tensor:
        """The outputs themselves."""
        return outputs


CLASSIFICATION: Task = Classification()
"""The task of a recipe that names none."""


def class_counts(labels: Tensor, classes: Sequence[str]) -> Tensor:
    """How many images each class has, int64 (classes,).

    Args:
        labels: class of each image, int64 (N,).
        classes: names.

    Raises:
        ValueError: labels of another form, fewer than two classes, one without images.
    """
    if labels.ndim != 1 or labels.is_floating_point():
        kinds = "numbers" if labels.is_floating_point() else "zeros and ones"
        other = "regression" if labels.is_floating_point() else "multi_label"
        raise ValueError(
            f"the data have {kinds} {tuple(labels.shape)} as labels, where one class an image is wanted; "
            f'task = "{other}" is for such'
        )
    if len(classes) < 2:
        raise ValueError(f"the data have {len(classes)} class; telling classes apart needs two or more")
    counts = torch.bincount(labels, minlength=len(classes))
    if none := [name for name, count in zip(classes, counts.tolist(), strict=True) if not count]:
        raise ValueError(f"no training image is of {', '.join(map(repr, none[:5]))}; leave such classes out")
    return counts
