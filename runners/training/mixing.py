"""Mixing the images of a batch in pairs, labels in proportion: mixup and cutmix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """Blends each image with its partner, or pastes a box of the partner into it, the same for a whole batch.

    "mixup: Beyond Empirical Risk Minimization" (Zhang et al., ICLR 2018), section 2; "CutMix" (Yun et al.,
    ICCV 2019), section 3.1. With both, each batch takes one of them with equal chance. Teachers and students
    of a step see the same mixed batch.

    Attributes:
        classes: Number of classes of the labels.
        mixup: Alpha of the Beta distribution of a blend's share; 0 blends nothing.
        cutmix: Alpha of the Beta distribution of what is left of the image; 0 pastes nothing.
        share: Share of the batches that are mixed.
    """

    classes: int
    mixup: float = 0.0
    cutmix: float = 0.0
    share: float = 1.0

    def __call__(self, images: Tensor, labels: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Mixed images (N, C, H, W) and the probabilities of their classes (N, classes), float32.

        Labels (N,) may be probabilities (N, classes) already, zeros and ones (N, labels), or values.
        """
        target = (F.one_hot(labels, self.classes) if labels.ndim == 1 else labels).float()
        if not (self.mixup or self.cutmix) or (self.share < 1 and rng.random() >= self.share):
            return images, target
        partner = images.flip(0)  # batches are shuffled: the order says nothing
        if rng.random() < self._share_of_mixup:
            kept = float(rng.beta(self.mixup, self.mixup))
            images = partner.lerp(images, kept)
        else:
            rows, columns = _box(images.shape[2], images.shape[3], rng.beta(self.cutmix, self.cutmix), rng)
            images = images.clone()
            images[:, :, rows, columns] = partner[:, :, rows, columns]
            pasted = (rows.stop - rows.start) * (columns.stop - columns.start)
            kept = 1 - pasted / (images.shape[2] * images.shape[3])
        return images, target.flip(0).lerp(target, kept)

    @property
    def _share_of_mixup(self) -> float:
        return 0.5 if self.mixup and self.cutmix else float(bool(self.mixup))


def _box(height: int, width: int, kept: float, rng: np.random.Generator) -> tuple[slice, slice]:
    """A box of a share 1 - kept of the area around a random centre, cut off at the borders."""
    side = np.sqrt(1 - kept) / 2
    row, column = rng.random(2)
    top, bottom = np.clip([row - side, row + side], 0, 1) * height
    left, right = np.clip([column - side, column + side], 0, 1) * width
    return slice(round(top), round(bottom)), slice(round(left), round(right))
