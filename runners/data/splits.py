"""Labelled images as the rest of the toolkit sees them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from results.records import Preprocessing


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Images uint8 (N, C, H, W) and labels: int64 (N,) or (N, labels), or float32 (N, values)."""

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
    def sentence(self) -> str:
        """How many images there are of each split, and of how many classes, labels or values."""
        labels = self.train.labels
        kind = "classes" if labels.ndim == 1 else "values" if labels.is_floating_point() else "labels"
        return (
            f"{len(self.train)} training, {len(self.val)} validation, {len(self.test)} test images, "
            f"{len(self.classes)} {kind}"
        )

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
        """(N, C, H, W) uint8 to float32 of the same shape; augmented images are laid out channels last."""
        if generator is not None and (self.crop_padding or self.flip):
            images = self._augmented(images, *self.moves(len(images), images.shape[2], generator))
        return self._normalised(images)

    def moves(self, n: int, height: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """What is drawn for n images: row and column that a crop begins at, (2, n); whether mirrored, (n,).

        A signal, of one row, moves along it alone.
        """
        shift, mirrored = torch.zeros((2, n), dtype=torch.int64), torch.zeros(n, dtype=torch.bool)
        if self.crop_padding:
            shift = torch.randint(0, 2 * self.crop_padding + 1, (2, n), generator=generator)
            if height == 1:
                shift[0] = self.crop_padding
        if self.flip:
            mirrored = torch.rand(n, generator=generator) < 0.5
        return shift, mirrored

    def moved(self, images: Tensor, row: int, column: int, *, mirrored: bool = False) -> Tensor:
        """Network input of images whose crops all begin at this row and column of the padded ones."""
        shift = torch.tensor([[row], [column]]).expand(2, len(images))
        return self._normalised(self._augmented(images, shift, torch.full((len(images),), mirrored)))

    def _augmented(self, images: Tensor, shift: Tensor, mirrored: Tensor) -> Tensor:
        pixels = images.permute(0, 2, 3, 1).contiguous()  # while they are bytes
        if self.crop_padding:
            pixels = _cropped(pixels, self.crop_padding, shift)
        if self.flip:
            pixels = _flipped(pixels, mirrored)
        return pixels.permute(0, 3, 1, 2)

    def _normalised(self, images: Tensor) -> Tensor:
        """Pixels over 255, less the mean, over the deviation."""
        given, pixels = self.preprocessing, images.permute(0, 2, 3, 1)
        mean, std = _constants(tuple(given.mean), tuple(given.std), images.device)
        if not pixels.is_contiguous():
            return images.float().div_(255).sub_(mean[:, None, None]).div_(std[:, None, None])
        # Whole rows at a time: over three channels as the last dimension nothing is vectorised.
        n, height, width, channels = pixels.shape
        rows = pixels.reshape(n, height, width * channels).float().div_(255)
        rows = rows.sub_(mean.repeat(width)).div_(std.repeat(width))
        return rows.view(n, height, width, channels).permute(0, 3, 1, 2)


@lru_cache(maxsize=8)
def _constants(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Mean and deviation on a device, sent there once and not with every batch."""
    return torch.tensor(mean, device=device), torch.tensor(std, device=device)


def _cropped(pixels: Tensor, padding: int, shift: Tensor) -> Tensor:
    """Each image (H, W, C) padded with black, then cut out from its row and column on."""
    n, height, width, _ = pixels.shape
    padded = F.pad(pixels, (0, 0, *(padding,) * 4))
    shift = shift.to(pixels.device, non_blocking=True)
    places = padded.unfold(1, height, 1).unfold(2, width, 1)  # (N, rows, columns, C, H, W), no copy
    cropped = places[torch.arange(n, device=pixels.device), shift[0], shift[1]]
    return cropped.permute(0, 2, 3, 1).contiguous()


def _flipped(pixels: Tensor, mirrored: Tensor) -> Tensor:
    """Those images (H, W, C) of a batch mirrored that are to be."""
    n = len(pixels)
    which = (torch.arange(n) + n * mirrored).to(pixels.device, non_blocking=True)
    return torch.cat([pixels, pixels.flip(2)]).index_select(0, which)  # torch.where is slow on bytes


def stratified(
    labels: NDArray[Any], fraction: float, seed: int, classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of a kept and a split-off part, the same share of every class, at least one image each.

    Of several labels an image, the same share of those with each as their rarest label.

    Args:
        labels: labels as in a ``Split``; two or more of every class.
        fraction: share to split off.
        seed: seed of the choice.
        classes: number of classes, labels or values.
    """
    rng = np.random.default_rng(seed)
    groups, off = _groups(labels), []
    for index in range(classes + 1):
        members = rng.permutation(np.flatnonzero(groups == index))
        off.append(members[: min(len(members) - 1, max(1, round(fraction * len(members))))])
    chosen = np.sort(np.concatenate(off))
    return np.setdiff1d(np.arange(len(labels)), chosen), chosen


def _groups(labels: NDArray[Any]) -> NDArray[np.int64]:
    """What images are split alike by: their class, the rarest of their labels (the last group has none)."""
    if labels.ndim == 1:
        return labels
    if labels.dtype.kind == "f":
        return np.zeros(len(labels), dtype=np.int64)
    rare = np.where(labels > 0, labels.sum(axis=0), len(labels) + 1)
    return np.where((labels > 0).any(axis=1), rare.argmin(axis=1), labels.shape[1])
