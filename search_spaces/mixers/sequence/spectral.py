"""Spectral state spaces: mixtures of filters that are fixed, the eigenvectors of a Hankel matrix."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from search_spaces.choice import Choice
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.mixers.sequence.raster import REACH, LongMixer, both_ways
from search_spaces.parts import Positive

LEAST = 1e-12
"""Share of the largest eigenvalue below which one is rounding."""


class SpectralUnit(LongMixer):
    """A long convolution whose kernel is a mixture of fixed filters, (B, C, H, W) -> (B, C, H, W).

    K_c(t) = sum_k (m_ck + (-1)^t n_ck) s_k^(1/4) phi_k(t), each way, s and phi the largest eigenvalues of
    the Hankel matrix 2 / ((i + j)^3 - (i + j)) and their vectors. "Spectral State Space Models" (Agarwal
    et al., 2024), section 3: filters of any linear system with real, symmetric dynamics lie near these, so
    they need no training. Its matrices over channels are here a mixture for each channel and a 1x1
    convolution behind, as in the approximation of "Flash STU" (Liu et al., 2024, section 3.1). The terms
    of the two positions before are left out: the kernel holds them.

    Args:
        channels: C.
        activation: name of the activation after the long convolution.
        filters: fixed filters, at most one more than ``reach``.
        reach: positions seen to each side. Filters are those of that length, so kernels of other reaches are
            no parts of each other; they share the mixtures.

    Raises:
        ValueError: more filters than positions.
    """

    def __init__(self, channels: int, *, activation: str, filters: Positive, reach: Positive) -> None:
        if filters > reach + 1:
            raise ValueError(
                f"stu: {filters} filters of {reach + 1} positions; give at most {reach + 1} filters, or a "
                f"reach of {filters - 1}"
            )
        super().__init__(SpectralKernel(channels, filters, reach), channels, activation)


class SpectralKernel(nn.Module):
    """The kernel (C, 1, 1, 2 reach + 1) of ``stu``."""

    of_weights = True

    def __init__(self, channels: int, filters: int, reach: int) -> None:
        super().__init__()
        self.filters, self.reach = filters, reach
        self.plain = nn.Parameter(torch.randn(2, channels, filters) * filters**-0.5)
        self.alternating = nn.Parameter(torch.randn(2, channels, filters) * filters**-0.5)
        self.direct = nn.Parameter(torch.randn(channels))

    def forward(self) -> Tensor:
        fixed = torch.from_numpy(spectral_filters(self.filters, self.reach + 1)).to(self.plain)
        signs = (-1.0) ** torch.arange(self.reach + 1, device=fixed.device)
        sides = self.plain @ fixed + self.alternating @ fixed * signs  # (2, C, reach + 1)
        return both_ways(sides[..., 1:], sides[0, :, 0] + self.direct)


@lru_cache(maxsize=64)
def spectral_filters(filters: int, length: int) -> NDArray[np.float64]:
    """The filters scaled by the fourth root of their eigenvalues, (filters, length), the strongest first.

    The largest value of each is positive. One whose eigenvalue rounding has taken is zero.
    """
    sums = np.arange(1, length + 1)[:, None] + np.arange(1, length + 1)
    strengths, vectors = np.linalg.eigh(2 / (sums**3.0 - sums))
    strengths[strengths < LEAST * strengths.max()] = 0
    largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(length)]
    scaled = vectors * np.sign(largest) * strengths**0.25
    return np.ascontiguousarray(scaled[:, ::-1][:, :filters].T)


register_mixer(Mixer(name="stu", make=SpectralUnit, choices=(Choice("filters", (4, 8)), REACH)))
