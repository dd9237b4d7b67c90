"""Channels mixed on a smaller map, between a strided and a transposed depthwise convolution.

"Design of Efficient Convolutional Layers using Single Intra-channel Convolution, Topological Subdivisioning
and Spatial 'Bottleneck' Structure" (Wang et al., 2016), sections 3.1 and 3.3: each convolution is one of
each channel alone and a 1x1 projection, and the projection works on the smaller map. Its sparse connections
of channels (section 3.2) are left out: grouped convolutions (``grouped_conv``) are theirs. The transposed
convolution has no norm, as one of groups doesn't fold.
"""

from __future__ import annotations

from torch import Tensor, nn

from search_spaces.choice import Choice
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import KERNEL, ConvNorm, OddSize, Positive


class SpatialBottleneck(nn.Module):
    """Strided depthwise, 1x1 with activation, transposed depthwise; (B, C, H, W) -> (B, C, H, W).

    Args:
        channels: C.
        activation: name of the activation after the 1x1 convolution.
        shrink: stride: pixels of the map for one of the smaller map, each way.
        kernel: side of the strided kernel in pixels, odd.
    """

    def __init__(self, channels: int, *, activation: str, shrink: Positive, kernel: OddSize) -> None:
        super().__init__()
        # At another stride weights mean something else, so they have another name.
        self.by = nn.ModuleDict(
            {
                f"down{shrink}": ConvNorm(channels, channels, kernel, stride=shrink, groups=channels),
                f"project{shrink}": ConvNorm(channels, channels, activation=activation),
                f"up{shrink}": nn.ConvTranspose2d(channels, channels, shrink, shrink, groups=channels),
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        _, _, height, width = x.shape
        y = x
        for part in self.by.values():
            y = part(y)
        return y[:, :, :height, :width]


register_mixer(
    Mixer(
        name="spatial_bottleneck",
        make=SpatialBottleneck,
        choices=(Choice("shrink", (2, 4), role="category"), KERNEL),
    )
)
