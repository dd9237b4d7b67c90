"""Any number of labels for each image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from results.records import Answer
from runners.tasks.metrics import average_precision, f1
from runners.tasks.task import TASKS, Task, shape_problem
from runners.tasks.weights import ClassWeights, tensor_of, weights_of


@TASKS.register("multi_label")
@dataclass(frozen=True, slots=True, kw_only=True)
class MultiLabel:
    """Any number of labels for each image; a network gives a logit for each label, (N, labels).

    A label is there where its output is above 0, a probability of one half.

    Attributes:
        class_weights: Weight of the images that have a label, in its loss: ``equal``, ``balanced`` (those
            with and those without it weigh the same) or by name.
        score_by: Score: ``map`` (mean over the labels of the average precision) or ``f1`` (mean over the
            labels). Labels that no image of the split has are left out.
    """

    class_weights: ClassWeights = "equal"
    score_by: Literal["map", "f1"] = "map"

    @property
    def metric(self) -> str:
        """Name of the score."""
        return {"map": "mean average precision", "f1": "mean F1"}[self.score_by]

    @property
    def answer(self) -> Answer:
        """The labels whose outputs are above 0."""
        return Answer(kind="labels")

    def outputs(self, classes: int) -> int:
        """One for each label."""
        return classes

    def fitted(self, labels: Tensor, classes: Sequence[str]) -> Task:
        """The task with the weights of its labels.

        Raises:
            ValueError: labels that are no zeros and ones, of another number of labels, or a label that no
                image or every image has.
        """
        if labels.ndim != 2 or labels.is_floating_point() or labels.shape[1] != len(classes):
            raise ValueError(
                f"the data have labels of shape {tuple(labels.shape)}, where zeros and ones "
                f'(images, {len(classes)}) are wanted; task = "classification" is for one class an image, '
                f'"regression" for numbers'
            )
        if odd := sorted(set(labels.unique().tolist()) - {0, 1}):
            raise ValueError(f"labels are 0 or 1 for each image and label; the data have {odd[0]} too")
        counts = labels.sum(0)
        for name, count in zip(classes, counts.tolist(), strict=True):
            if count in (0, len(labels)):
                raise ValueError(
                    f"{'no' if not count else 'every'} training image has the label {name!r}, so there is "
                    f"nothing to learn of it; leave it out"
                )
        balanced = ((len(labels) - counts) / counts.double()).tolist()
        return replace(self, class_weights=weights_of(self.class_weights, balanced, classes))

    def loss(self, outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Binary cross-entropy of logits with labels or their probabilities, both (N, labels)."""
        wanted = targets.to(outputs.dtype) * (1 - label_smoothing) + label_smoothing / 2
        weighted = self.class_weights != "equal"
        weight = tensor_of(self.class_weights, outputs) if weighted else None
        return F.binary_cross_entropy_with_logits(outputs, wanted, pos_weight=weight)

    def score(self, outputs: Tensor, targets: Tensor) -> float:
        """Score of logits with labels, both (N, labels).

        Raises:
            ValueError: shapes that do not belong together, no images, or no label on any of them.
        """
        if outputs.shape != targets.shape or outputs.ndim != 2 or not len(targets):
            raise ValueError(
                f"a score of labels needs outputs and labels (images, labels), got shapes "
                f"{tuple(outputs.shape)} and {tuple(targets.shape)}"
            )
        there = targets > 0
        known = there.any(0)
        if not known.any():
            raise ValueError("no image has any label, of which there is no score")
        outputs, there = outputs[:, known], there[:, known]
        found = average_precision(outputs, there) if self.score_by == "map" else f1(outputs > 0, there)
        return float(found.mean())

    def problem(self, outputs: object, classes: int) -> str:
        """What is wrong with the outputs for two images; empty where they are logits (2, labels)."""
        return shape_problem(outputs, classes, classes, "labels")

    def logits(self, outputs: Tensor) -> Tensor:
        """Two for each image and label, that it is not there and that it is, (N * labels, 2)."""
        flat = outputs.reshape(-1, 1)
        return torch.cat([torch.zeros_like(flat), flat], 1)
