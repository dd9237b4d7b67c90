"""A learned matrix over the positions of a group, of which smaller groups use the leading rows and
columns."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_spaces.mixers.attention.partition import Partition


class PositionMatrix(nn.Module):
    """Sum over positions of weight * x, plus a bias, from positions to units or to positions again.

    The weights are those of a square group of the largest size; one of h x w positions uses the first h rows
    and w columns of it. So maps of several sizes share them, and a smaller group is a slice of a larger.

    Args:
        side: longest side of a group, in positions.
        units: number of units at the other end; 0 for positions.
        backwards: whether it goes from units to positions.
        bias: first value of the biases.
    """

    def __init__(self, side: int, *, units: int = 0, backwards: bool = False, bias: float = 0.0) -> None:
        super().__init__()
        self.units, self.backwards = units, backwards
        place, other = (side, side), (units,) if units else (side, side)
        ends = (place, other) if backwards else (other, place)
        self.weight = nn.Parameter(torch.empty(*ends[0], *ends[1]))
        self.bias = nn.Parameter(torch.full(ends[0], bias))
        nn.init.normal_(self.weight, std=0.02)  # MLP-Mixer's and gMLP's are as small

    def forward(self, x: Tensor, partition: Partition) -> Tensor:
        """(..., what comes in) -> (..., what goes out), each a number of positions or of units.

        Args:
            x: values of the positions of a group, row by row, or of units.
            partition: what says how many rows and columns a group has.
        """
        rows, columns, positions = partition.rows.length, partition.columns.length, partition.positions
        if self.units and self.backwards:
            weight = self.weight[:rows, :columns].reshape(positions, self.units)
            bias = self.bias[:rows, :columns].reshape(positions)
        elif self.units:
            weight = self.weight[:, :rows, :columns].reshape(self.units, positions)
            bias = self.bias
        else:
            weight = self.weight[:rows, :columns, :rows, :columns].reshape(positions, positions)
            bias = self.bias[:rows, :columns].reshape(positions)
        return x @ weight.transpose(0, 1) + bias
