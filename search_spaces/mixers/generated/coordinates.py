"""Small networks from coordinates to the channels of a kernel."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

HIDDEN = 16
OMEGA = 10.0


class Sines(nn.Module):
    """Two layers sin(omega (W x + b)) and a linear one, (..., dimensions) -> (..., C).

    "Implicit Neural Representations with Periodic Activation Functions" (Sitzmann et al., NeurIPS 2020), as
    the kernel network of CKConv. Only the last layer depends on the number of channels.

    Args:
        dimensions: coordinates of a point.
        channels: C.
    """

    def __init__(self, dimensions: int, channels: int) -> None:
        super().__init__()
        self.first = nn.Linear(dimensions, HIDDEN)
        self.second = nn.Linear(HIDDEN, HIDDEN)
        self.last = nn.Linear(HIDDEN, channels)
        nn.init.uniform_(self.first.weight, -1 / dimensions, 1 / dimensions)
        nn.init.uniform_(self.second.weight, -math.sqrt(6 / HIDDEN) / OMEGA, math.sqrt(6 / HIDDEN) / OMEGA)

    def forward(self, points: Tensor) -> Tensor:
        hidden = torch.sin(OMEGA * self.first(points))
        result: Tensor = self.last(torch.sin(OMEGA * self.second(hidden)))
        return result


class Gabors(nn.Module):
    """A multiplicative network of Gabor filters, (..., 2) -> (..., C).

    h_1 = g_1(x), h_2 = (W h_1 + b) g_2(x), and a linear layer, with g(x) = exp(-|s (x - m)|^2 / 2) sin(V x
    + c), s and m each of two coordinates: MAGNet of "FlexConv: Continuous Kernel Convolutions with
    Differentiable Kernel Sizes" (Romero et al., ICLR 2022), section 3.2. Only the last layer depends on
    the number of channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Gabor()
        self.second = Gabor()
        self.mix = nn.Linear(HIDDEN, HIDDEN)
        self.last = nn.Linear(HIDDEN, channels)

    def forward(self, points: Tensor) -> Tensor:
        hidden = self.mix(self.first(points)) * self.second(points)
        result: Tensor = self.last(hidden)
        return result


class Gabor(nn.Module):
    """exp(-|s (x - m)|^2 / 2) sin(V x + c) of each filter, (..., 2) -> (..., HIDDEN)."""

    def __init__(self) -> None:
        super().__init__()
        self.wave = nn.Linear(2, HIDDEN)
        self.middle = nn.Parameter(torch.empty(HIDDEN, 2).uniform_(-1, 1))
        self.scale = nn.Parameter(torch.empty(HIDDEN, 2).uniform_(0.5, 2))
        nn.init.uniform_(self.wave.weight, -OMEGA / 2, OMEGA / 2)

    def forward(self, points: Tensor) -> Tensor:
        away = (points[..., None, :] - self.middle) * self.scale
        return torch.exp(-0.5 * (away**2).sum(dim=-1)) * torch.sin(self.wave(points))
