"""The data of a run as its stages see them: splits, and what turns stored images into network input."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from runners.data.splits import Prepare, Split, Splits
from search_spaces.space import Shape


@dataclass(frozen=True, kw_only=True)
class RunData:
    """Images and labels of a run, checked.

    Attributes:
        splits: training, validation and test images as stored.
        prepare: makes stored images into network input; augments where it is given a generator.
        calibration_images: training images for the BatchNorm statistics of scored networks.
    """

    splits: Splits
    prepare: Prepare
    calibration_images: int

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of the outputs."""
        return self.splits.classes

    @property
    def input_shape(self) -> Shape:
        """(C, H, W) of one input."""
        return self.splits.input_shape

    def images(self, split: Split, n: int | None = None) -> Tensor:
        """The first n images of a split as network input, without augmentation."""
        return self.prepare(split.images[:n], None)

    def training_images(self, n: int) -> Tensor:
        """n training images as network input, evenly spread over the split, whatever its order."""
        images = self.splits.train.images
        chosen = torch.linspace(0, len(images) - 1, min(n, len(images))).long()
        return self.prepare(images[chosen], None)

    def training_tensors(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Training images (N, C, H, W) as stored and labels (N,), on a device."""
        return self.splits.train.images.to(device), self.splits.train.labels.to(device)

    @cached_property
    def calibration(self) -> Tensor:
        """Fixed training images for the BatchNorm statistics of scored networks."""
        return self.training_images(self.calibration_images)

    @cached_property
    def example(self) -> Tensor:
        """Two validation images as network input."""
        return self.images(self.splits.val, 2)
