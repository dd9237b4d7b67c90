"""Channels mixed in the bands of a wavelet transform, whose levels each halve the map.

"WaveMix: A Resource-efficient Neural Network for Image Analysis" (Jeevan et al., 2022), section 3: a quarter
of the channels, their Haar transform, an MLP on its four bands, a transposed convolution back. With several
levels, the coarser are added to the bands of the finer before its MLP, where the paper concatenates them.
Norms follow the convolutions that they fold into. Where a side is odd, its last row or column is repeated
for the transform.
"""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn
from torch.nn.functional import pad

from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.mixers.static.recursive import LEVELS
from search_spaces.parts import ConvNorm, Mlp, Positive, PositiveRatio

BANDS = 4


class WaveletMixer(nn.Module):
    """up(mlp(haar(reduce(x)) + what a coarser level gives)), (B, C, H, W) -> (B, C, H, W).

    Args:
        channels: C, a multiple of four.
        activation: name of the activation in the MLPs.
        levels: halvings of the map. Fewer levels are the finest of more.
        expansion: hidden channels of the MLPs over C.
    """

    def __init__(
        self, channels: int, *, activation: str, levels: Positive, expansion: PositiveRatio = 2
    ) -> None:
        super().__init__()
        self.reduce = ConvNorm(channels, channels // BANDS)
        self.mlps = nn.ModuleList(Mlp(channels, expansion, activation) for _ in range(levels))
        self.ups = nn.ModuleList(
            nn.Sequential(
                nn.ConvTranspose2d(channels, channels, 4, 2, 1, bias=False), nn.BatchNorm2d(channels)
            )
            for _ in range(levels)
        )

    def forward(self, x: Tensor) -> Tensor:
        low, found, sizes = self.reduce(x), [], []
        for _ in self.mlps:
            sizes.append(low.shape)
            transformed = haar(low)  # (B, C / 4, 4, H / 2, W / 2)
            low = transformed[:, :, 0]
            found.append(transformed.flatten(1, 2))
        added: Tensor | None = None
        for level in range(len(found) - 1, -1, -1):
            inside = found[level] if added is None else found[level] + added
            size = sizes[level]
            added = self.ups[level](self.mlps[level](inside))[:, :, : size[2], : size[3]]
        assert added is not None
        return added


def haar(x: Tensor) -> Tensor:
    """The Haar transform of one level, (B, C, H, W) -> (B, C, 4, H / 2, W / 2), halves rounded up.

    The bands of a channel are its mean over four pixels, twice, and the differences across, down and both.
    """
    odd = int(x.shape[3]) % 2, int(x.shape[2]) % 2
    if any(odd):
        x = pad(x, (0, odd[0], 0, odd[1]), mode="replicate")
    above, below = x[:, :, ::2], x[:, :, 1::2]
    sums, differences = above + below, above - below
    bands = [
        sums[..., ::2] + sums[..., 1::2],
        sums[..., ::2] - sums[..., 1::2],
        differences[..., ::2] + differences[..., 1::2],
        differences[..., ::2] - differences[..., 1::2],
    ]
    return torch.stack(bands, dim=2) / 2


fx.wrap("haar")  # whoever folds norms traces without sizes

register_mixer(Mixer(name="wavemix", make=WaveletMixer, choices=(LEVELS,), channel_multiple=BANDS))
