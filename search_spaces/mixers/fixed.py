"""Constant matrices that mixers multiply maps with, made of the sides of the maps.

What runtimes have no operator for (pooling to a size that does not divide the map's) is a product with one of
these; Fourier transforms are in ``spectral/matrices.py``. Files hold them as constants. A module that calls
one says ``fx.wrap("its name")``, as sides are no numbers while a network's graph is traced symbolically.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# NumPy makes them: what torch makes while a network is traced belongs to that trace, and could not be kept.
Matrix = NDArray[np.float64]


def region_means(side: int, regions: int, like: Tensor) -> Tensor:
    """What takes a side of a map to the means of regions, (regions, side), as adaptive pooling has them.

    Args:
        side: pixels.
        regions: means; where they are more than the pixels, several are of one pixel.
        like: tensor whose type and device the matrix gets.
    """
    return torch.from_numpy(_region_means(int(side), int(regions))).to(like)


@lru_cache(maxsize=256)
def _region_means(side: int, regions: int) -> Matrix:
    found = np.zeros((regions, side))
    for index in range(regions):
        start, end = index * side // regions, -(-(index + 1) * side // regions)
        found[index, start:end] = 1 / (end - start)
    return found


def resampling(side: int, given: int, like: Tensor) -> Tensor:
    """What takes ``given`` samples along a side to its pixels, linearly, (side, given).

    Args:
        side: pixels.
        given: samples, spread evenly.
        like: tensor whose type and device the matrix gets.
    """
    return torch.from_numpy(_resampling(int(side), int(given))).to(like)


@lru_cache(maxsize=256)
def _resampling(side: int, given: int) -> Matrix:
    places = np.clip((np.arange(side) + 0.5) * given / side - 0.5, 0, given - 1)
    return np.clip(1 - np.abs(places[:, None] - np.arange(given)), 0, None)


def pixels(height: int, width: int, like: Tensor) -> Tensor:
    """Row and column of every pixel, (2, height, width), with the type and device of ``like``."""
    return torch.from_numpy(np.indices((int(height), int(width)))).to(like)
