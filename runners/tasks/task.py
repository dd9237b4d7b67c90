"""What a task is. Yours is a frozen dataclass with these members, registered under a name for recipes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from results.records import Answer
from results.registry import Registry


class Task(Protocol):
    """What a network is trained for and judged by. Its settings are its fields.

    A small frozen dataclass: it is sent to other processes, and its ``repr`` tells scores of one task from
    those of another. Yours inherits what it does not change, from ``Classification`` or another task.
    """

    @property
    def metric(self) -> str:
        """Name of the score for people: ``accuracy``, ``mean average precision``."""
        ...

    @property
    def answer(self) -> Answer:
        """How an answer is read off a network's outputs: as one class, several labels, or values."""
        ...

    def outputs(self, classes: int) -> int:
        """How many numbers a network gives for an image.

        Args:
            classes: number of classes, labels or values of the data.
        """
        ...

    def fitted(self, labels: Tensor, classes: Sequence[str]) -> Task:
        """The task with what it takes from the training labels: weights of classes, the scale of values.

        Args:
            labels: labels of the training images: (N,) int64, one class each; (N, labels) of zeros and ones,
                int64; (N, values) float32.
            classes: names of the classes, labels or values.

        Raises:
            ValueError: labels that are not of this task, of another shape, or of which there is nothing to
                learn; says which.
        """
        ...

    def loss(self, outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """The loss to minimise, a scalar, the mean over the batch.

        Args:
            outputs: what the network gives for a batch of N images, float32.
            targets: labels as in ``fitted``; of a class also (N, classes) probabilities, where images are
                mixed.
            label_smoothing: share of a label's probability that is spread over all classes.
        """
        ...

    def score(self, outputs: Tensor, targets: Tensor) -> float:
        """How good outputs are, in [0, 1], higher is better: what searches maximise.

        Args:
            outputs: what the network gives for all N images of a split.
            targets: labels as in ``fitted``.

        Raises:
            ValueError: shapes that do not belong together, or no images.
        """
        ...

    def problem(self, outputs: object, classes: int) -> str:
        """What keeps a network's outputs from being trained and scored; empty where nothing does.

        Args:
            outputs: what a network gives for two images of zeros.
            classes: number of classes, labels or values of the data.
        """
        ...

    def logits(self, outputs: Tensor) -> Tensor:
        """What distillation compares: logits, (M, classes), a row for each answer."""
        ...


TASKS: Registry[Callable[..., Task]] = Registry("task")
"""Tasks by name: ``f(*, ...settings)`` gives one."""


def scoring_problem(task: Task, labels: Tensor, classes: int) -> str:
    """What keeps outputs from being scored with the labels of a split; empty where nothing does.

    Args:
        task: task, fitted.
        labels: labels of the split, (N, ...).
        classes: number of classes, labels or values of the data.
    """
    try:
        task.score(torch.zeros(len(labels), task.outputs(classes)), labels)
    except ValueError as error:
        return str(error)
    return ""


def shape_problem(outputs: object, wanted: int, classes: int, called: str = "classes") -> str:
    """What is wrong with the outputs for two images; empty where they are (2, wanted).

    Args:
        outputs: what a network gives.
        wanted: numbers that it has to give for an image.
        classes: number of classes, labels or values of the data.
        called: what these are called.
    """
    found = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
    if found == (2, wanted):
        return ""
    return (
        f"makes {found} of two images, and the data have {classes} {called}; it has to give a tensor "
        f"(images, {wanted})"
    )
