"""Layer normalisation over the channels of each position."""

from __future__ import annotations

from torch import Tensor, nn

from search_spaces.norms.registry import NORMS


@NORMS.register("layer")
class LayerNorm(nn.Module):
    """(x - mean) / sqrt(variance + 1e-6) over the channels of a position, scaled and shifted by channel.

    "Layer Normalization" (Ba et al., 2016), as ConvNeXt has it (Liu et al., CVPR 2022). Mean and variance are
    of the channels that a network has. A narrower network is still the slice of a wider one, bit for bit,
    since a subnet is a plain network of its own width; but it normalises by fewer channels, so what is left
    of a wider one whose further channels are silent is not the narrower one (``nas.supernet.prefix`` makes
    an exception for it).

    Args:
        channels: C of (B, C, H, W).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return result
