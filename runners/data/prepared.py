"""The data of a run as its stages see them: splits, and what turns stored images into network input."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from runners.data.splits import Prepare, Split, Splits
from runners.tasks import CLASSIFICATION, Task
from search_spaces.space import Shape


@dataclass(frozen=True, kw_only=True)
class RunData:
    """Images and labels of a run, checked.

    Attributes:
        splits: Training, validation and test images as stored.
        prepare: Makes stored images into network input; augments where it is given a generator.
        calibration_images: Training images for the BatchNorm statistics of scored networks.
        task: Task that networks are trained for and judged by, fitted to the training labels.
        balance: How evenly classes are drawn in training; see ``TrainingData``.
    """

    splits: Splits
    prepare: Prepare
    calibration_images: int
    task: Task = CLASSIFICATION
    balance: float = 0.0

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, labels or values, in the order of the outputs."""
        return self.splits.classes

    @property
    def outputs(self) -> int:
        """How many numbers a network gives for an image."""
        return self.task.outputs(len(self.classes))

    @property
    def input_shape(self) -> Shape:
        """(C, H, W) of one input."""
        return self.splits.input_shape

    def images(self, split: Split, n: int | None = None) -> Tensor:
        """The first n images of a split as network input, without augmentation."""
        return self.prepare(split.images[:n], None)

    def training_images(self, n: int) -> Tensor:
        """n training images as network input, evenly spread over the split, whatever its order."""
        return self.training_batch(n)[0]

    def augmented_images(self, n: int) -> Tensor:
        """The same augmented as in training, always alike: for BatchNorm statistics.

        Weights were trained behind statistics of augmented batches. Those of images as they are differ (no
        black comes in at the borders), and cost accuracy (docs/training.md has how much).
        """
        train = self.splits.train
        chosen = torch.linspace(0, len(train) - 1, min(n, len(train))).long()
        return self.prepare(train.images[chosen], torch.Generator().manual_seed(0))

    def training_batch(self, n: int) -> tuple[Tensor, Tensor]:
        """The same with their labels."""
        train = self.splits.train
        chosen = torch.linspace(0, len(train) - 1, min(n, len(train))).long()
        return self.prepare(train.images[chosen], None), train.labels[chosen]

    def training_tensors(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Training images (N, C, H, W) as stored and labels (N, ...), on a device."""
        return self.splits.train.images.to(device), self.splits.train.labels.to(device)

    def score(self, outputs: NDArray[Any], labels: NDArray[Any]) -> float:
        """The task's score in [0, 1] of outputs and labels, (N, ...) each, as arrays.

        Raises:
            ValueError: shapes that do not belong together.
        """
        return self.task.score(torch.from_numpy(outputs), torch.from_numpy(labels))

    @cached_property
    def calibration(self) -> Tensor:
        """Fixed training images for the BatchNorm statistics of scored networks, augmented."""
        return self.augmented_images(self.calibration_images)

    @cached_property
    def example(self) -> Tensor:
        """Two validation images as network input."""
        return self.images(self.splits.val, 2)
