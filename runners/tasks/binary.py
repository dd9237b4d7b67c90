"""Yes or no for each image, from one output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from results.records import Answer
from runners.tasks.classification import class_counts
from runners.tasks.metrics import area_under_roc, f1
from runners.tasks.task import TASKS, Task, shape_problem
from runners.tasks.weights import ClassWeights, tensor_of, weights_of


@TASKS.register("binary")
@dataclass(frozen=True, slots=True, kw_only=True)
class Binary:
    """One of two classes for each image from one logit, (N, 1): above 0 it is the second class.

    Attributes:
        class_weights: Weight of both classes in the loss: ``equal``, ``balanced`` or by name.
        score_by: Score: ``accuracy``, ``f1`` (of the second class) or ``auc`` (area under the ROC curve,
            which does not depend on the threshold).
    """

    class_weights: ClassWeights = "equal"
    score_by: Literal["accuracy", "f1", "auc"] = "accuracy"

    @property
    def metric(self) -> str:
        """Name of the score."""
        return {"accuracy": "accuracy", "f1": "F1", "auc": "area under the ROC curve"}[self.score_by]

    @property
    def answer(self) -> Answer:
        """The second class where the output is above 0."""
        return Answer(kind="binary")

    def outputs(self, classes: int) -> int:
        """One, for two classes."""
        del classes
        return 1

    def fitted(self, labels: Tensor, classes: Sequence[str]) -> Task:
        """The task with the weights of its classes.

        Raises:
            ValueError: other labels than one of two classes an image, or a class without images.
        """
        counts = class_counts(labels, classes)
        if len(classes) != 2:
            raise ValueError(
                f'the data have {len(classes)} classes; task = "binary" is for two, "classification" for more'
            )
        balanced = (len(labels) / (2 * counts.double())).tolist()
        return replace(self, class_weights=weights_of(self.class_weights, balanced, classes))

    def loss(self, outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Binary cross-entropy of logits (N, 1) with labels (N,) or probabilities (N, 2)."""
        both = F.one_hot(targets, 2).to(outputs.dtype) if targets.ndim == 1 else targets
        both = both * (1 - label_smoothing) + label_smoothing / 2
        if self.class_weights != "equal":
            both = both * tensor_of(self.class_weights, outputs)
        return -(both * F.logsigmoid(torch.cat([-outputs, outputs], 1))).sum(1).mean()

    def score(self, outputs: Tensor, targets: Tensor) -> float:
        """Score of logits (N, 1) with labels (N,).

        Raises:
            ValueError: shapes that do not belong together, or no images.
        """
        if tuple(outputs.shape) != (len(targets), 1) or targets.ndim != 1 or not len(targets):
            raise ValueError(
                f"a score of two classes needs outputs (images, 1) and labels (images,), got shapes "
                f"{tuple(outputs.shape)} and {tuple(targets.shape)}"
            )
        there, said = targets == 1, outputs[:, 0] > 0
        if self.score_by == "f1":
            return float(f1(said[:, None], there[:, None])[0])
        if self.score_by == "auc":
            return area_under_roc(outputs[:, 0], there)
        return float((said == there).double().mean())

    def problem(self, outputs: object, classes: int) -> str:
        """What is wrong with the outputs for two images; empty where they are (2, 1)."""
        return shape_problem(outputs, 1, classes)

    def logits(self, outputs: Tensor) -> Tensor:
        """A logit for each of the two classes, (N, 2)."""
        return torch.cat([torch.zeros_like(outputs), outputs], 1)
