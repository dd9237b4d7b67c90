"""Fourier and cosine transforms as products with constant matrices, since runtimes have no operator for them.

On maps of up to some tens of positions a side, such products take less than the fast algorithms. The matrices
are made of a map's size in numpy, so that files hold them as constants.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

Array = NDArray[np.float64]


class Fourier(NamedTuple):
    """What takes maps (H, W) to U x V of their frequencies and back, so that there and back is a projection.

    Attributes:
        rows_cos: cosines of the rows, (U, H). rows_sin: sines of the rows, (U, H). columns_cos: cosines of
        the columns, (W, V). columns_sin: sines of the columns, (W, V). back_cos: cosines of the way back,
        (V, W), twice as much for a frequency that stands for its conjugate. back_sin: sines of the way back,
        (V, W). inside: 1 for frequencies that count and 0 for the others, (U, V).
    """

    rows_cos: Tensor
    rows_sin: Tensor
    columns_cos: Tensor
    columns_sin: Tensor
    back_cos: Tensor
    back_sin: Tensor
    inside: Tensor

    def forth(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Real and imaginary part of the frequencies, (..., H, W) -> (..., U, V) each; orthonormal."""
        cos, sin = x @ self.columns_cos, x @ self.columns_sin
        return self.rows_cos @ cos - self.rows_sin @ sin, -(self.rows_cos @ sin + self.rows_sin @ cos)

    def back(self, real: Tensor, imaginary: Tensor) -> Tensor:
        """The map of such frequencies, (..., U, V) -> (..., H, W)."""
        cos, sin = self.rows_cos.transpose(0, 1), self.rows_sin.transpose(0, 1)
        along, across = cos @ real - sin @ imaginary, cos @ imaginary + sin @ real
        return along @ self.back_cos - across @ self.back_sin


def fourier(x: Tensor, radius: int = 0) -> Fourier:
    """The matrices for maps (..., H, W), of their type and device.

    Args:
        x: maps.
        radius: highest frequency that is kept, in periods a map, by the root of the squares of rows and
            columns; 0 keeps all.
    """
    found = _fourier(int(x.shape[-2]), int(x.shape[-1]), radius)
    return Fourier(*(torch.from_numpy(one).to(x) for one in found))


def cosines(x: Tensor) -> tuple[Tensor, Tensor]:
    """The orthonormal cosine transforms (DCT-II) of rows and of columns, (H, H) and (W, W)."""
    height, width = (torch.from_numpy(_cosines(int(side))).to(x) for side in x.shape[-2:])
    return height, width


def bands(x: Tensor, number: int) -> Tensor:
    """The band of each frequency of a cosine transform, (number, H * W), 1 there and 0 elsewhere."""
    return torch.from_numpy(_bands(int(x.shape[-2]), int(x.shape[-1]), number)).to(x)


for _name in ("fourier", "cosines", "bands"):
    fx.wrap(_name)  # whoever folds norms traces without sizes; who imports one has to say so too


@lru_cache(maxsize=256)
def _fourier(height: int, width: int, radius: int) -> tuple[Array, ...]:
    down = np.fft.fftfreq(height, 1 / height).round()  # 0, 1, ..., -2, -1
    right = np.arange(width // 2 + 1, dtype=np.float64)
    if radius:
        down, right = down[np.abs(down) <= radius], right[right <= radius]
    rows = 2 * np.pi / height * np.outer(down, np.arange(height))
    columns = 2 * np.pi / width * np.outer(np.arange(width), right)
    twice = np.where((right == 0) | (2 * right == width), 1.0, 2.0)[:, None]
    inside = np.hypot(down[:, None], right) <= radius if radius else np.ones((len(down), len(right)))
    of_rows, of_columns = height**-0.5, width**-0.5
    return (
        np.cos(rows) * of_rows,
        np.sin(rows) * of_rows,
        np.cos(columns) * of_columns,
        np.sin(columns) * of_columns,
        np.ascontiguousarray(np.cos(columns).T) * twice * of_columns,
        np.ascontiguousarray(np.sin(columns).T) * twice * of_columns,
        inside.astype(np.float64),
    )


@lru_cache(maxsize=256)
def _cosines(side: int) -> Array:
    angles = np.pi / side * np.outer(np.arange(side), np.arange(side) + 0.5)
    scale = np.where(np.arange(side) == 0, 1, 2)[:, None] / side
    found: Array = np.cos(angles) * np.sqrt(scale)
    return found


@lru_cache(maxsize=256)
def _bands(height: int, width: int, number: int) -> Array:
    share = np.maximum(np.arange(height)[:, None] / height, np.arange(width) / width)
    which = (share * number).astype(int).reshape(-1)
    return (which == np.arange(number)[:, None]).astype(np.float64)
