"""Labelled images as the rest of the toolkit sees them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

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
        """(N, C, H, W) uint8 to float32 of the same shape; augmented images are laid out channels last."""
        if generator is not None and (self.crop_padding or self.flip):
            pixels = images.permute(0, 2, 3, 1).contiguous()  # while they are bytes
            if self.crop_padding:
                pixels = _random_crop(pixels, self.crop_padding, generator)
            if self.flip:
                pixels = _random_flip(pixels, generator)
            images = pixels.permute(0, 3, 1, 2)
        return self._normalised(images)

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


def _random_crop(pixels: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """Each image (H, W, C) moved by up to ``padding`` pixels in both directions, black coming in.

    A signal, of one row, moves along it alone.
    """
    n, height, width, _ = pixels.shape
    padded = F.pad(pixels, (0, 0, *(padding,) * 4))
    shift = torch.randint(0, 2 * padding + 1, (2, n), generator=generator).to(
        pixels.device, non_blocking=True
    )
    if height == 1:
        shift[0] = padding
    places = padded.unfold(1, height, 1).unfold(2, width, 1)  # (N, rows, columns, C, H, W), no copy
    cropped = places[torch.arange(n, device=pixels.device), shift[0], shift[1]]
    return cropped.permute(0, 2, 3, 1).contiguous()


def _random_flip(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Each image (H, W, C) of a batch mirrored with probability one half."""
    n = len(pixels)
    mirrored = torch.rand(n, generator=generator) < 0.5
    which = (torch.arange(n) + n * mirrored).to(pixels.device, non_blocking=True)
    return torch.cat([pixels, pixels.flip(2)]).index_select(0, which)  # torch.where is slow on bytes


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
