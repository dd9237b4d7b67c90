"""What a head knows of where two positions of a group lie: small networks of the offset between them.

They compute the same for a window of any size, so all sizes share one set of weights. In a deployed network
their output is a constant.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from search_spaces.mixers.attention.partition import Partition


class LogBias(nn.Module):
    """The log-spaced continuous bias of Swin V2: an MLP of sign(d) log2(1 + |d|), then 16 sigmoid.

    "Swin Transformer V2: Scaling Up Capacity and Resolution" (Liu et al., CVPR 2022), section 3.3. The logs
    aren't divided by that of the window, which would make the bias of an offset depend on the size chosen.

    Args:
        heads: number of heads.
        hidden: width of the hidden layer.
    """

    def __init__(self, heads: int, hidden: int) -> None:
        super().__init__()
        self.expand = nn.Linear(2, hidden)
        self.project = nn.Linear(hidden, heads, bias=False)

    def forward(self, partition: Partition) -> Tensor:
        """(heads, positions, positions) for the positions of a group."""
        hidden = torch.relu(self.expand(offsets_of(partition, self.expand.weight, logs=True)))
        return looked_up(16 * torch.sigmoid(self.project(hidden)), partition)


class OffsetBias(nn.Module):
    """CrossFormer's dynamic position bias: an MLP of the offset, each hidden layer normalised.

    "CrossFormer: A Versatile Vision Transformer Hinging on Cross-scale Attention" (Wang et al., ICLR 2022),
    section 3.3: three times LayerNorm, ReLU and a linear layer after a first linear layer.

    Args:
        heads: number of heads.
        hidden: width of the hidden layers.
    """

    def __init__(self, heads: int, hidden: int) -> None:
        super().__init__()
        self.first = nn.Linear(2, hidden)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(3))
        self.linears = nn.ModuleList(
            [nn.Linear(hidden, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, heads)]
        )

    def forward(self, partition: Partition) -> Tensor:
        """(heads, positions, positions) for the positions of a group."""
        x = self.first(offsets_of(partition, self.first.weight))
        for norm, linear in zip(self.norms, self.linears, strict=True):
            x = linear(torch.relu(norm(x)))
        return looked_up(x, partition)


BIASES: dict[str, type[LogBias] | type[OffsetBias]] = {"log": LogBias, "offset": OffsetBias}


def offsets_of(partition: Partition, like: Tensor, *, logs: bool = False) -> Tensor:
    """The offsets (n, 2) that there are between positions of a group; or sign(d) log2(1 + |d|) of them."""
    offsets, _ = _offsets(partition)
    if logs:
        offsets = np.sign(offsets) * np.log2(1 + np.abs(offsets))
    return torch.from_numpy(offsets).to(like)


def looked_up(table: Tensor, partition: Partition) -> Tensor:
    """(heads, N, N) for the pairs of a group's positions, of a table (n, heads) for the offsets between
    them."""
    _, index = _offsets(partition)
    at = torch.from_numpy(index.reshape(-1)).to(table.device)
    return table.index_select(0, at).reshape(*index.shape, -1).permute(2, 0, 1)


fx.wrap("offsets_of")  # whoever folds norms traces without sizes
fx.wrap("looked_up")


@lru_cache(maxsize=256)
def _offsets(partition: Partition) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The offsets (n, 2) that there are between positions of a group, in rows and columns, and which is
    where."""
    tall, wide = partition.rows.length, partition.columns.length
    rows, columns = np.divmod(np.arange(tall * wide), wide)
    index = (rows[:, None] - rows + tall - 1) * (2 * wide - 1) + columns[:, None] - columns + wide - 1
    down, right = np.meshgrid(np.arange(1 - tall, tall), np.arange(1 - wide, wide), indexing="ij")
    return np.stack([down.ravel(), right.ravel()], axis=1).astype(np.float64), index
