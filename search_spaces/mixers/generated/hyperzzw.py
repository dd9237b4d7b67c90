"""HyperZZW: a generated kernel as large as the map, times the map, is what the map is convolved with."""

from __future__ import annotations

from torch import Tensor, fx, nn

from search_spaces.mixers.fixed import pixels
from search_spaces.mixers.generated.coordinates import Sines
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.mixers.spectral.matrices import fourier
from search_spaces.parts import ConvNorm, PositiveRatio

fx.wrap("pixels")
fx.wrap("fourier")


class HyperZzw(nn.Module):
    """z = x * (w x), w a function of coordinates, and a 1x1 convolution; (B, C, H, W) -> (B, C, H, W).

    * is a periodic convolution over the whole map, divided by its pixels. "HyperZ.Z.W Operator Connects
    Slow-Fast Networks for Full Context Interaction" (Zhang, 2024), the global branch: the kernel depends
    on the image because it is multiplied with it. The author's code takes a matrix product of the two,
    which needs square maps; here it is the convolution that the paper writes. Left out are the local
    branches, the channel mixer and the norms of the Terminator around it.

    Args:
        channels: C.
        scale: pixels for one unit of the coordinates.
    """

    def __init__(self, channels: int, *, scale: PositiveRatio = 8) -> None:
        super().__init__()
        self.slow = HyperKernel(channels, scale)
        self.project = ConvNorm(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2], x.shape[3]
        transform = fourier(x)
        real, imaginary = transform.forth(x)
        other, fancied = transform.forth(self.slow(height, width) * x)
        mixed = transform.back(
            real * other - imaginary * fancied, real * fancied + imaginary * other
        )  # of orthonormal transforms: the convolution over the root of the pixels
        result: Tensor = self.project(mixed * (height * width) ** -0.5)
        return result


class HyperKernel(nn.Module):
    """A kernel for a map of any size: its sides -> (1, C, H, W)."""

    of_weights = True

    def __init__(self, channels: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.network = Sines(2, channels)

    def forward(self, height: int, width: int) -> Tensor:
        places = pixels(height, width, self.network.last.weight) / self.scale
        return self.network(places.permute(1, 2, 0)).permute(2, 0, 1)[None]


register_mixer(Mixer(name="hyperzzw", make=HyperZzw))
