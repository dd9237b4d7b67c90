"""Gates made by a learned matrix over the positions of a window, and over those of a grid.

"MAXIM: Multi-Axis MLP for Image Processing" (Tu et al., CVPR 2022), section 3.2: a gated MLP inside blocks
for half of the channels and among positions of a grid for the other half, with matrices of a fixed size, so
that maps of any size share them. Here each half has projections of its own, as which half a channel is in
may not depend on the width, and norms follow the projections and fold into them. The cross gating of its
skips is left out.
"""

from __future__ import annotations

from torch import Tensor, fx, nn

from search_spaces.mixers.attention.partition import Grids, Windows
from search_spaces.mixers.attention.region import PartitionOf, partition_at
from search_spaces.mixers.attention.window import WINDOW, acting
from search_spaces.mixers.positions.matrix import PositionMatrix
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import ConvNorm, Positive

fx.wrap("partition_at")  # whoever folds norms traces without sizes


class MultiAxisGates(nn.Module):
    """Gates inside windows plus gates among positions of a grid, (B, C, H, W) -> (B, C, H, W).

    Args:
        channels: C, an even number.
        activation: name of the activation of what is gated.
        window: longest side of a window, and most positions of a grid along a side. The matrices have
            window^4 weights each.
    """

    def __init__(self, channels: int, *, activation: str, window: Positive) -> None:
        super().__init__()
        self.near = SpatialGate(channels, Windows(window), window, activation)
        self.far = SpatialGate(channels, Grids(window), window, activation)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.near(x) + self.far(x)
        return mixed


class SpatialGate(nn.Module):
    """project(activation(u(x)) * (W v(x) + b)), W over the positions of each group of a partition.

    "Pay Attention to MLPs" (Liu et al., NeurIPS 2021), section 2.1: W begins near zero and b at one.
    """

    def __init__(self, channels: int, partition: PartitionOf, side: int, activation: str) -> None:
        super().__init__()
        inner, self.partition = channels // 2, partition
        self.gated = ConvNorm(channels, inner, activation=activation)
        self.gate = ConvNorm(channels, inner)
        # With another window another matrix: its positions are others' neighbours.
        self.positions = nn.ModuleDict({f"window{side}": PositionMatrix(side, bias=1.0)})
        self.project = ConvNorm(inner, channels)

    def forward(self, x: Tensor) -> Tensor:
        partition = partition_at(x, self.partition)
        x = partition.arrange(x)
        (positions,) = self.positions.values()
        mixed = positions(partition.split(self.gate(x)), partition)
        restored: Tensor = partition.restore(self.project(self.gated(x) * partition.join(mixed)))
        return restored


register_mixer(
    Mixer(name="multi_axis", make=MultiAxisGates, choices=(WINDOW,), channel_multiple=2, acting=acting)
)
