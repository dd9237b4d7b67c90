"""Bands of the cosine transform, of which the input chooses how much of each goes through.

"Dynamic Spectrum Mixer for Visual Recognition" (Hu and Yuan, 2023): tokens are mixed in the domain of the
cosine transform, where weights generated from the input select bands. The generator here is that of a
squeeze and excitation, for each channel and band; bands are square shells of equal width. The details of the
paper's generator and its low-rank form are left out.
"""

from __future__ import annotations

from torch import Tensor, fx, nn

from search_spaces.choice import Choice
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.mixers.spectral.matrices import bands as bands_of
from search_spaces.mixers.spectral.matrices import cosines
from search_spaces.parts import ConvNorm, Positive

fx.wrap("bands_of")  # whoever folds norms traces without sizes
fx.wrap("cosines")

REDUCTION = 4
LEAST_HIDDEN = 8


class SpectrumMixer(nn.Module):
    """project(the map of gain * D), D the cosine transform of enter(x); (B, C, H, W) -> (B, C, H, W).

    Args:
        channels: C.
        bands: bands of frequencies that each channel has a gain for, between 0 and 1, by the means of x.
    """

    def __init__(self, channels: int, *, bands: Positive) -> None:
        super().__init__()
        hidden = max(LEAST_HIDDEN, channels // REDUCTION)
        self.bands = bands
        self.enter = ConvNorm(channels, channels)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.squeeze = nn.Conv2d(channels, hidden, 1)
        self.act = nn.ReLU()
        # A channel's gains lie side by side: with other bands they are others.
        self.gains = nn.ModuleDict({f"bands{bands}": nn.Conv2d(hidden, channels * bands, 1)})
        self.weigh = nn.Sigmoid()
        self.project = ConvNorm(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        batch = x.shape[0]
        (gains,) = self.gains.values()
        weights = self.weigh(gains(self.act(self.squeeze(self.pool(x))))).reshape(batch, -1, self.bands)
        entered = self.enter(x)
        rows, columns = cosines(entered)
        spectrum = rows @ entered @ columns.transpose(0, 1)
        chosen = spectrum * (weights @ bands_of(entered, self.bands)).reshape(spectrum.shape)
        return self.project(rows.transpose(0, 1) @ chosen @ columns)


register_mixer(Mixer(name="dct_mixer", make=SpectrumMixer, choices=(Choice("bands", (2, 4, 8)),)))
