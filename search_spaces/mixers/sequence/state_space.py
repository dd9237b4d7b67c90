"""State-space models, which are long convolutions with sums of damped oscillations."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from search_spaces.choice import Choice
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.mixers.sequence.raster import REACH, LongMixer, acting, both_ways
from search_spaces.parts import ConvNorm, Positive


class StateSpace(nn.Module):
    """A long convolution with sums of damped oscillations, (B, C, H, W) -> (B, C, H, W).

    y = K * x + D x with K_c(t) = 2 Re sum_n C_n (e^(dt A_n) - 1) / A_n e^(dt A_n t), each way: a diagonal
    state-space model s' = A s + x, y = C s, each channel by itself, in its convolutional form; each way
    has a C of its own. "Combining Recurrent, Convolutional, and Continuous-time Models with Linear State-
    Space Layers" (Gu et al., NeurIPS 2021), section 3, with the diagonal A and its beginning of S4D ("On
    the Parameterization and Initialization of Diagonal State Space Models", Gu et al., NeurIPS 2022,
    S4D-Lin), where the paper's A is dense. The recurrent form is left out: a file sees the whole sequence.
    It runs both ways over all positions, one row after another, as DiS does ("Scalable Diffusion Models
    with State Space Backbone", Fei et al., 2024); with ``branches`` depthwise convolutions of 3x3, 5x5 ...
    stand beside it, as in HRVMamba ("High-Resolution Visual State Space Model for Dense Prediction", Zhang
    et al., 2024). Both papers have Mamba's scan, whose A and C depend on the input: that is no
    convolution, and the mixer ``selective_scan``; HRVMamba's deformable convolution is a mixer of its own.

    Args:
        channels: C.
        activation: name of the activation after the long convolution.
        states: complex numbers of a channel's state. Those of fewer are the leading ones of more.
        reach: positions seen to each side, at which the kernel is cut off.
        branches: depthwise convolutions beside it, of sides 3, 5 ...
    """

    def __init__(
        self,
        channels: int,
        *,
        activation: str,
        states: Positive,
        reach: Positive,
        branches: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        super().__init__()
        self.scan = LongMixer(OscillatingKernel(channels, states, reach), channels, activation)
        sides = [3 + 2 * index for index in range(branches)]
        self.local = nn.ModuleList(ConvNorm(channels, channels, side, groups=channels) for side in sides)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.scan(x)
        for branch in self.local:
            mixed = mixed + branch(x)
        return mixed


class OscillatingKernel(nn.Module):
    """The kernel (C, 1, 1, 2 reach + 1) of a state-space model."""

    of_weights = True

    def __init__(self, channels: int, states: int, reach: int) -> None:
        super().__init__()
        self.reach = reach
        # A = -e^log_damping + i frequency, of S4D-Lin: -1/2 + i pi n. Steps from 0.01 to 0.3 positions.
        self.log_damping = nn.Parameter(torch.full((channels, states), math.log(0.5)))
        self.frequency = nn.Parameter(math.pi * torch.arange(states).repeat(channels, 1))
        self.log_step = nn.Parameter(torch.empty(channels).uniform_(math.log(0.01), math.log(0.3)))
        self.real = nn.Parameter(torch.randn(2, channels, states))
        self.imaginary = nn.Parameter(torch.randn(2, channels, states))
        self.direct = nn.Parameter(torch.randn(channels))

    def forward(self) -> Tensor:
        pole = torch.complex(-self.log_damping.exp(), self.frequency)  # (C, N)
        step = pole * self.log_step.exp()[:, None]
        weight = torch.complex(self.real, self.imaginary) * (step.exp() - 1) / pole  # (2, C, N)
        times = torch.arange(self.reach + 1, device=pole.device)
        powers = torch.exp(step[..., None] * times)  # (C, N, reach + 1)
        sides = 2 * (weight[..., None] * powers).sum(dim=2).real  # (2, C, reach + 1)
        return both_ways(sides[..., 1:], sides[0, :, 0] + self.direct)


register_mixer(
    Mixer(
        name="state_space",
        make=StateSpace,
        choices=(Choice("states", (4, 8)), REACH),
        acting=acting,
    )
)
