"""Attention to a coarse map, to the means of a window's positions, and to those of a dilated window's."""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from search_spaces.mixers.attention.heads import HEAD_CHANNELS, HeadChannels, HeadsBetween, heads_of
from search_spaces.mixers.attention.reduced import REDUCTION, StridedNorm, Times
from search_spaces.mixers.attention.window import WINDOW, Positions
from search_spaces.mixers.registry import Mixer, register_mixer


class FactorizedAttention(nn.Module):
    """Heads on three factors of the map, shared out in turn; (B, C, H, W) -> (B, C, H, W); FaSA.

    "Factorization Vision Transformer: Modeling Long Range Dependency with Local Window Cost" (Qin et al.,
    2023), section 3.2: some channels attend to a coarse map, made by a strided convolution; some to window x
    window tokens, each the mean of one position over all windows; some to the same of windows dilated by the
    stride. So the number of keys does not grow with that of windows. Where the reduction is 1, the third is
    the second and is left out. Heads are shared out in turn, each factor with projections of its own; the
    depthwise convolutions on the values are left out.

    Args:
        channels: C, a multiple of ``head_channels``.
        window: side of a window in positions of it; at most those that a map has.
        reduction: stride of the coarse map, and dilation of the dilated windows.
        head_channels: channels of a head.

    Raises:
        ValueError: a width that is no multiple of the head's.
    """

    def __init__(
        self,
        channels: int,
        *,
        window: Positions,
        reduction: Times,
        head_channels: HeadChannels = HEAD_CHANNELS,
    ) -> None:
        super().__init__()
        heads = heads_of(channels, head_channels, "factorized_attention")
        self.window = window
        self.reduce = nn.ModuleDict()
        if reduction > 1:
            self.reduce[f"by_{reduction}"] = StridedNorm(channels, reduction)
        self.steps = (1,) if reduction == 1 else (1, reduction)
        factors = 1 + len(self.steps)
        shares = [(heads - index + factors - 1) // factors for index in range(factors)]
        # The name says how many factors there are: of another number, the same heads mean other things.
        self.factors = nn.ModuleDict(
            {
                f"{index}_of_{factors}": HeadsBetween(channels, share, head_channels)
                for index, share in enumerate(shares)
                if share
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        return reduce(
            add, (one(x, self._source(index, x)) for index, one in enumerate(self.factors.values()))
        )

    def _source(self, index: int, x: Tensor) -> Tensor:
        """What the heads of a factor attend to."""
        if index:
            return means_of_windows(x, self.window, self.steps[index - 1])
        for one in self.reduce.values():
            return one(x)
        return x


def means_of_windows(x: Tensor, window: int, step: int) -> Tensor:
    """(B, C, window, window): means of the positions that have one place in their window, as two products.

    A window takes every ``step``-th position. Places that a map does not have are left out.
    """
    sizes = int(x.shape[2]), int(x.shape[3])
    rows, columns = (torch.from_numpy(_averaging(size, window, step)).to(x) for size in sizes)
    return ((x @ columns.T).transpose(2, 3) @ rows.T).transpose(2, 3)


fx.wrap("means_of_windows")  # whoever folds norms traces without sizes


def _averaging(size: int, window: int, step: int) -> NDArray[np.float64]:
    """(places, size): row i averages the positions step (i + window n), for all n."""
    at = np.arange(size)
    places = np.arange(min(window, -(-size // step)))[:, None]
    chosen = (at % step == 0) & (at // step % window == places)
    return chosen / chosen.sum(axis=1, keepdims=True)


register_mixer(
    Mixer(
        name="factorized_attention",
        make=FactorizedAttention,
        choices=(WINDOW, REDUCTION),
        channel_multiple="head_channels",
    )
)
