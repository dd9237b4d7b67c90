"""Labelled images as the rest of the toolkit sees them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from results.records import Preprocessing


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Images uint8 (N, C, H, W) and labels int64 (N,)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """The data of a run. Test images are used once, at the end; search scores on the validation images."""

    train: Split
    val: Split
    test: Split
    classes: tuple[str, ...]
    preprocessing: Preprocessing

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        _, channels, height, width = self.train.images.shape
        return channels, height, width


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare:
    """Makes stored images into network input: float32, normalised; augmented where a generator is given.

    Attributes:
        preprocessing: mean and deviation.
        crop_padding: pixels of black padding before a random crop back to size; 0 does not crop.
        flip: mirrors each image with probability one half.
    """

    preprocessing: Preprocessing
    crop_padding: int = 0
    flip: bool = False

    def __call__(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """(N, C, H, W) uint8 to float32 of the same shape."""
        if generator is not None and self.crop_padding:
            images = _random_crop(images, self.crop_padding, generator)
        if generator is not None and self.flip:
            mirrored = torch.rand(len(images), generator=generator).to(images.device) < 0.5
            images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        mean = torch.tensor(self.preprocessing.mean, device=images.device)[:, None, None]
        std = torch.tensor(self.preprocessing.std, device=images.device)[:, None, None]
        return (images.float() / 255 - mean) / std


def _random_crop(images: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """Each image moved by up to ``padding`` pixels in both directions, black coming in."""
    n, _, height, width = images.shape
    padded = F.pad(images, (padding,) * 4)
    shift = torch.randint(0, 2 * padding + 1, (2, n), generator=generator).to(images.device)
    rows = shift[0, :, None] + torch.arange(height, device=images.device)  # (N, H)
    columns = shift[1, :, None] + torch.arange(width, device=images.device)  # (N, W)
    which = torch.arange(n, device=images.device)[:, None, None]
    cropped = padded.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None, :]]  # (N, H, W, C)
    return cropped.permute(0, 3, 1, 2)


def stratified(
    labels: NDArray[np.int64], fraction: float, seed: int, classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of a kept and a split-off part, the same share of every class, at least one image each.

    Args:
        labels: (N,); two or more of every class.
        fraction: share to split off.
        seed: seed of the choice.
        classes: number of classes.
    """
    rng = np.random.default_rng(seed)
    off = []
    for index in range(classes):
        members = rng.permutation(np.flatnonzero(labels == index))
        off.append(members[: min(len(members) - 1, max(1, round(fraction * len(members))))])
    chosen = np.sort(np.concatenate(off))
    return np.setdiff1d(np.arange(len(labels)), chosen), chosen
