"""Features of any network as maps, two of them on one grid, and the projections from one width to another."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LEADING = 8  # most tokens before those of a square grid: classes, registers


def grid_of(shape: torch.Size) -> tuple[int, int] | None:
    """Height and width of a feature's grid; None for what is no map and no row of tokens.

    Args:
        shape: Shape of a map (N, C, H, W), or of tokens (N, tokens, C): these stand on the largest square
            that there are enough for, after a few leading ones, or else in one row.
    """
    if len(shape) == 4:
        return int(shape[2]), int(shape[3])
    if len(shape) != 3:
        return None
    side = math.isqrt(shape[1])
    return (side, side) if side > 1 and shape[1] - side**2 <= _LEADING else (1, int(shape[1]))


def channels_of(shape: torch.Size) -> int:
    """Channels of a map (N, C, H, W) or of tokens (N, tokens, C)."""
    return int(shape[1] if len(shape) == 4 else shape[2])


def as_map(feature: Tensor) -> Tensor:
    """A map (N, C, H, W) as it is; tokens (N, tokens, C) on their grid, without leading ones."""
    if feature.ndim == 4:
        return feature
    grid = grid_of(feature.shape)
    assert grid is not None
    last = feature[:, feature.shape[1] - grid[0] * grid[1] :]
    return last.transpose(1, 2).reshape(len(feature), -1, *grid)


def on_one_grid(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both maps (N, C, H, W) on the smaller height and width of the two, by averages over their cells."""
    grid = (min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3]))
    student, teacher = (
        one if one.shape[2:] == grid else F.adaptive_avg_pool2d(one, grid) for one in (student, teacher)
    )
    return student, teacher


class Searched(nn.Module):
    """A mean of several projections with learned weights: they compete, and the best comes to rule.

    "DARTS" (Liu et al., ICLR 2019), section 2.2: a softmax over the alternatives, learned with the rest.

    Args:
        inputs: Channels of the student's map.
        outputs: Channels of the teacher's.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        names = ("linear", "spatial", "mlp")
        self.ways = nn.ModuleDict({name: PROJECTIONS[name](inputs, outputs) for name in names})
        self.strength = nn.Parameter(torch.zeros(len(names)))

    def forward(self, x: Tensor) -> Tensor:
        """The weighted mean."""
        shares = self.strength.softmax(0)
        found = [share * way(x) for share, way in zip(shares, self.ways.values(), strict=True)]
        return torch.stack(found).sum(0)


def _norm(inputs: int, outputs: int, kernel: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


PROJECTIONS: dict[str, Callable[[int, int], nn.Module]] = {
    "linear": lambda inputs, outputs: nn.Conv2d(inputs, outputs, 1),
    "spatial": lambda inputs, outputs: _norm(inputs, outputs, 3),
    "mlp": lambda inputs, outputs: nn.Sequential(
        *_norm(inputs, outputs), nn.ReLU(), nn.Conv2d(outputs, outputs, 1)
    ),
    "searched": Searched,
}
"""Projections from a student's channels to a teacher's, by name; learned, and gone after training."""
