"""What a task is. Yours is a frozen dataclass with these members, registered under a name for recipes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from results.registry import Registry


class Task(Protocol):
    """What a network is trained for and judged by. Its settings are its fields.

    A small frozen dataclass: it is sent to other processes, and its ``repr`` tells scores of one task from
    those of another.
    """

    def loss(self, outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """The loss to minimise, a scalar, the mean over the batch.

        Args:
            outputs: what the network gives for a batch of N images, float32.
            targets: (N,) labels, int64, or (N, classes) probabilities where images are mixed.
            label_smoothing: share of a label's probability that is spread over all classes.
        """
        ...

    def score(self, outputs: Tensor, targets: Tensor) -> float:
        """How good outputs are, in [0, 1], higher is better.

        Args:
            outputs: what the network gives for all N images of a split.
            targets: (N,) labels, int64.

        Raises:
            ValueError: shapes that do not belong together, or no images.
        """
        ...

    def problem(self, outputs: object, classes: int) -> str:
        """What keeps a network's outputs from being trained and scored; empty where nothing does.

        Args:
            outputs: what a network gives for two images of zeros.
            classes: number of classes of the data.
        """
        ...

    def logits(self, outputs: Tensor) -> Tensor:
        """What distillation compares: logits, (M, classes), a row for each answer."""
        ...


TASKS: Registry[Callable[..., Task]] = Registry("task")
"""Tasks by name: ``f(*, ...settings)`` gives one."""
