"""Positions mixed by a matrix that was drawn once and stays as it is.

"MetaFormer Baselines for Vision" (Yu et al., TPAMI 2024), section 2.2, RandFormer: the matrix is a softmax
of numbers drawn from [0, 1), and is never trained. It has N^2 numbers for N positions, which files hold: it
is for small maps (a megabyte at 16 x 32), as there, where only the last two stages have it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, fx, nn

from search_spaces.choice import Choice
from search_spaces.mixers.registry import Mixer, register_mixer


class RandomMixing(nn.Module):
    """softmax(R) x over positions, R drawn, (B, C, H, W) -> (B, C, H, W).

    Args:
        channels: C.
        draw: seed of the matrix; another is another matrix.
    """

    def __init__(
        self,
        channels: int,  # noqa: ARG002  it has no weights
        *,
        draw: Annotated[int, Field(ge=0)],
    ) -> None:
        super().__init__()
        self.draw = draw

    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(2) @ drawn_matrix(x, self.draw)).reshape(x.shape)


def drawn_matrix(x: Tensor, seed: int) -> Tensor:
    """The matrix (N, N) for a map, transposed."""
    return torch.from_numpy(_drawn(int(x.shape[2]) * int(x.shape[3]), seed)).to(x)


fx.wrap("drawn_matrix")  # whoever folds norms traces without sizes


@lru_cache(maxsize=64)
def _drawn(positions: int, seed: int) -> NDArray[np.float64]:
    grown = np.exp(np.random.default_rng(seed).random((positions, positions)))
    return np.ascontiguousarray((grown / grown.sum(axis=1, keepdims=True)).T)


register_mixer(
    Mixer(name="random_mixing", make=RandomMixing, choices=(Choice("draw", (0, 1), role="category"),))
)
