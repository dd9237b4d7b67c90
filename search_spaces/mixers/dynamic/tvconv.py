"""Translation variant convolution: a depthwise kernel for every position, whatever the image."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, fx, nn

from search_spaces.mixers.dynamic.folding import scale_and_shift
from search_spaces.mixers.dynamic.windowed import Taps, windowed
from search_spaces.mixers.fixed import resampling
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import ACTIVATIONS, KERNEL, OddSize, Positive

fx.wrap("resampling")


HIDDEN = 16
MAPS = 4


class TranslationVariant(nn.Module):
    """A depthwise convolution with other weights at every position, (B, C, H, W) -> (B, C, H, W).

    "TVConv: Efficient Translation Variant Convolution for Layout-aware Visual Processing" (Chen et al.,
    CVPR 2022), section 3: the weights follow from learned affinity maps through a small network, so that
    parts of the layout that are alike have kernels alike. They depend on no image: an exported file holds
    the kernels of all positions as constants, kernel^2 C H W numbers, which makes it large on large maps.
    The paper's maps have the resolution of the features, and fix it; here they have one of their own and
    are interpolated, so that any resolution will do, though what was learned is the layout of the images
    it was trained with. The last layer of the network is 1x1 (3x3 there), and its norms are over all
    channels and positions.

    Args:
        channels: C.
        activation: name of the activation after the norm.
        kernel: side of the kernels in pixels, odd.
        grid: rows and columns of the affinity maps.
    """

    def __init__(self, channels: int, *, activation: str, kernel: OddSize, grid: Positive = 8) -> None:
        super().__init__()
        self.kernel = kernel
        self.layout = Layout(channels, kernel, grid)
        self.norm = nn.BatchNorm2d(channels)
        self.act = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        weights = self.layout(x.shape[2], x.shape[3])
        result: Tensor = self.act(self.norm(windowed(x, weights, self.kernel, 1)))
        return result

    def folded(self) -> nn.Module:
        """The same without its norm, whose scale the kernels take; for inference."""
        whole = copy.deepcopy(self)
        scale, shift = scale_and_shift(whole.norm)
        with torch.no_grad():
            whole.layout.taps.weight.mul_(scale[:, None, None, None])
            whole.layout.taps.bias.mul_(scale[:, None, None])
        whole.set_submodule("norm", shift)
        return whole


class Layout(nn.Module):
    """The kernels of all positions: sides of a map -> (1, C, kernel^2, H, W)."""

    of_weights = True

    def __init__(self, channels: int, kernel: int, grid: int) -> None:
        super().__init__()
        self.maps = nn.Parameter(torch.randn(1, MAPS, grid, grid))
        self.network = nn.Sequential(
            nn.Conv2d(MAPS, HIDDEN, 3, padding=1),
            nn.GroupNorm(1, HIDDEN),
            nn.ReLU(),
            nn.Conv2d(HIDDEN, HIDDEN, 3, padding=1),
            nn.GroupNorm(1, HIDDEN),
            nn.ReLU(),
        )
        self.taps = Taps(HIDDEN, channels, kernel)

    def forward(self, height: int, width: int) -> Tensor:
        grid = self.maps.shape[-1]
        down, right = (resampling(side, grid, self.maps) for side in (height, width))
        weights: Tensor = self.taps(self.network(down @ self.maps @ right.transpose(0, 1)))
        return weights


register_mixer(Mixer(name="tvconv", make=TranslationVariant, choices=(KERNEL,)))
