"""Mamba's selective scan in its form without a recursion: products of matrices, which files can hold."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.choice import Choice
from search_spaces.mixers.attention.heads import HEAD_CHANNELS, HeadChannels, by_head, heads_of
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import ConvNorm, Positive


class SelectiveScan(nn.Module):
    """State spaces whose step, input and output depend on the position, both ways; (B, C, H, W) -> the same.

    s_t = e^(-r d_t) s_(t-1) + d_t b_t x_t, y_t = c_t s_t for each head; d, b and c are of the input at t:
    "Mamba: Linear-Time Sequence Modeling with Selective State Spaces" (Gu and Dao, 2023), section 3.2, with
    one decay r a head, as "Transformers are SSMs" (Dao and Gu, ICML 2024) has it, and in the form that paper
    finds to be the same (section 3.3): y_t = sum_u (c_t b_u) e^(-|D_t - D_u|) d_u x_u, where D is the sum of
    r d so far. Its time grows with the square of the positions, as attention's does, and no runtime
    needs a loop; so it is for maps, not for long sequences, where ``state_space`` is. Positions, rows one
    after another, are summed before and after alike, on the same weights: how much is left between two is the
    same both ways, where a scan of the reversed sequence would count each step one position earlier. A
    depthwise convolution before the scan and a gate after it are the papers'; norms follow the convolutions.

    Args:
        channels: C, a multiple of ``head_channels``.
        states: numbers of a channel's state; those of fewer are the leading ones of more.
        head_channels: channels of a head, which share step and decay.

    Raises:
        ValueError: a width that is no multiple of the head's.
    """

    def __init__(
        self, channels: int, *, states: Positive, head_channels: HeadChannels = HEAD_CHANNELS
    ) -> None:
        super().__init__()
        heads = heads_of(channels, head_channels, "selective_scan")
        self.head_channels = head_channels
        self.enter = ConvNorm(channels, channels)
        self.local = ConvNorm(channels, channels, 3, groups=channels, activation="silu")
        self.step = ConvNorm(channels, heads)
        self.write = ConvNorm(channels, states)
        self.read = ConvNorm(channels, states)
        self.gate = ConvNorm(channels, channels, activation="silu")
        self.log_rate = nn.Parameter(torch.zeros(heads, 1))
        self.direct = nn.Parameter(torch.ones(heads, 1, 1))
        self.project = ConvNorm(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        given = self.local(self.enter(x))
        values = by_head(given.flatten(2), self.head_channels)  # (B, heads, d, N)
        steps = functional.softplus(self.step(x)).flatten(2)  # (B, heads, N)
        passed = torch.cumsum(steps * self.log_rate.exp(), dim=2)
        decay = torch.exp(-torch.abs(passed[..., None] - passed[..., None, :]))  # (B, heads, N, N)
        likeness = self.read(x).flatten(2).transpose(1, 2) @ self.write(x).flatten(2)  # (B, N, N)
        weights = likeness[:, None] * decay
        mixed = (values * steps[:, :, None]) @ weights.transpose(-2, -1) + self.direct * values
        result: Tensor = self.project(mixed.reshape(given.shape) * self.gate(x))
        return result


register_mixer(
    Mixer(
        name="selective_scan",
        make=SelectiveScan,
        choices=(Choice("states", (4, 8)),),
        channel_multiple="head_channels",
    )
)
