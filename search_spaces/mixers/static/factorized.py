"""A kernel as a column and a row, one after the other.

Dense, it is the n x 1 and 1 x n pair of "Rethinking the Inception Architecture for Computer Vision" (Szegedy
et al., CVPR 2016), section 3.2. Depthwise with a 1x1 convolution after it, all filters are one-way, as in "A
priori compression of convolutional neural networks for wave simulators" (Boulle et al., 2023). An activation
stands between column and row; the last convolution has none, as it ends in a sum.
"""

from __future__ import annotations

from torch import nn

from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import KERNEL, ConvNorm, OddSize


class Factorized(nn.Sequential):
    """kernel x 1, activation, 1 x kernel, and a 1x1 convolution where these are depthwise; keeps the shape.

    Args:
        channels: C.
        activation: name of the activation between column and row.
        kernel: pixels of the column, and of the row, odd.
        dense: whether column and row mix the channels too; then there is no 1x1 convolution.
    """

    def __init__(self, channels: int, *, activation: str, kernel: OddSize, dense: bool = False) -> None:
        super().__init__()
        groups = 1 if dense else channels
        self.column = ConvNorm(channels, channels, (kernel, 1), groups=groups, activation=activation)
        self.row = ConvNorm(channels, channels, (1, kernel), groups=groups)
        if not dense:
            self.project = ConvNorm(channels, channels)


register_mixer(Mixer(name="factorized", make=Factorized, choices=(KERNEL,)))
