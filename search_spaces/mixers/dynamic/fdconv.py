"""A depthwise convolution whose kernel's frequencies are weighed for each image."""

from __future__ import annotations

import copy
import math
from functools import lru_cache
from typing import Annotated, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, fx, nn

from search_spaces.choice import Choice
from search_spaces.mixers.dynamic.experts import convolved
from search_spaces.mixers.dynamic.folding import scale_and_shift
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import ACTIVATIONS, KERNEL, OddSize

fx.wrap("projections")


class FrequencyDynamic(nn.Module):
    """A depthwise convolution with the kernel sum_i 2 sigmoid(R mean(x) + r)_i P_i W of each image.

    P_i W is the part of the kernel W in the i-th band of frequencies, so that several kernels, each of
    other frequencies, take the parameters of one. "Frequency Dynamic Convolution for Dense Image
    Prediction" (Chen et al., CVPR 2025), section 3.1. There the discrete Fourier transform runs over
    kernel and channels at once, and all frequencies would change with the width; here it runs over the
    kernel of each channel (the prefix rule). Parameters are the kernel itself, whose transform is the
    paper's. Kernel spatial modulation and frequency band modulation (sections 3.2 and 3.3) are left out:
    the first has a dense network of its own, the second transforms the whole map.

    Args:
        channels: C.
        activation: name of the activation after the norm.
        kernel: side of the kernel in pixels, odd.
        kernel_bands: bands that the kernel's frequencies are divided into, from low to high; a kernel of side
            1 has one frequency, and so one band.
    """

    def __init__(
        self, channels: int, *, activation: str, kernel: OddSize, kernel_bands: Annotated[int, Field(ge=1)]
    ) -> None:
        super().__init__()
        self.channels, self.kernel = channels, kernel
        self.pool = nn.AdaptiveAvgPool2d(1)
        # A band is another one where there are more of them.
        self.name = f"route_{kernel_bands}"
        self.add_module(self.name, nn.Conv2d(channels, kernel_bands, 1))
        self.parts = Bands(channels, kernel, kernel_bands)
        self.norm = nn.BatchNorm2d(channels)
        self.act = ACTIVATIONS[activation]()

    def kernels(self, x: Tensor) -> Tensor:
        """The kernel of each image, flat: (B, C kernel^2)."""
        shares = 2 * torch.sigmoid(self.get_submodule(self.name)(self.pool(x))).flatten(1)  # (B, bands)
        return shares @ self.parts()

    def forward(self, x: Tensor) -> Tensor:
        y = convolved(x, self.kernels(x), self.channels, self.kernel, 1, True)
        result: Tensor = self.act(self.norm(y))
        return result

    def folded(self) -> nn.Module:
        """The same without its norm, whose scale the kernel takes; for inference."""
        whole = copy.deepcopy(self)
        scale, shift = scale_and_shift(whole.norm)
        with torch.no_grad():
            whole.parts.weight.mul_(scale[:, None, None])
        whole.set_submodule("norm", shift)
        return whole


class Bands(nn.Module):
    """A depthwise kernel and its parts by frequency: () -> (bands, C kernel^2), whose sum is the kernel."""

    of_weights = True
    centre_dims: ClassVar = {"weight": (1, 2)}

    def __init__(self, channels: int, kernel: int, bands: int) -> None:
        super().__init__()
        self.kernel, self.bands = kernel, bands
        self.weight = nn.Parameter(torch.empty(channels, kernel, kernel))
        nn.init.kaiming_uniform_(self.weight.unsqueeze(1), a=5**0.5)

    def forward(self) -> Tensor:
        # (bands, C, kernel^2)
        parts = self.weight.flatten(1) @ projections(self.kernel, self.bands, self.weight)
        return parts.flatten(1)


def projections(kernel: int, bands: int, like: Tensor) -> Tensor:
    """What takes a flat kernel to its part in each band, (bands, kernel^2, kernel^2).

    A frequency and its negative belong together, as the part is real. They are sorted by distance from
    zero, then cut into bands of as many each; where there are fewer frequencies than bands, the last are
    empty.

    Args:
        kernel: side of the kernel, odd.
        bands: bands.
        like: tensor whose type and device the matrices get.
    """
    return torch.from_numpy(_projections(kernel, bands)).to(like)


@lru_cache(maxsize=64)
def _projections(kernel: int, bands: int) -> NDArray[np.float64]:
    places = np.indices((kernel, kernel)).reshape(2, -1).T  # (kernel^2, 2)
    half = kernel // 2
    frequencies = [(u, v) for u in range(half + 1) for v in range(-half, half + 1) if u > 0 or v >= 0]
    frequencies.sort(key=lambda one: (math.hypot(*one), one))
    found = np.zeros((bands, kernel**2, kernel**2))
    for number, one in enumerate(frequencies):
        angle = places @ np.array(one) * (2 * math.pi / kernel)
        # cos(a - b): the projection on cosine and sine of this frequency, which are orthogonal.
        weight = (1 if one == (0, 0) else 2) / kernel**2
        found[number * bands // max(bands, len(frequencies))] += weight * np.cos(angle[:, None] - angle)
    return found


register_mixer(Mixer(name="fdconv", make=FrequencyDynamic, choices=(KERNEL, Choice("kernel_bands", (2, 4)))))
