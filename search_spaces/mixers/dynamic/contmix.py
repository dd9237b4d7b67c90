"""ContMix: every position's kernel follows from how much it is like each region of the map."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, fx, nn

from search_spaces.choice import Choice
from search_spaces.mixers.dynamic.windowed import windowed
from search_spaces.mixers.fixed import region_means
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import ConvNorm, OddSize, Positive

fx.wrap("region_means")


class ContextMixing(nn.Module):
    """Sums over windows with weights softmax(M q k^T), (B, C, H, W) -> (B, C, H, W).

    q are the channels of a position, k those of the means of regions, M takes the likeness to each region
    to the window's pixels. "OverLoCK: An Overview-first-Look-Closely-next ConvNet with Context-Mixing
    Dynamic Kernels" (Lou and Yu, CVPR 2025), section 3.3. Heads have two windows in turns, a small one and
    a large; in the paper these are the halves of the channels, which would change with the width. What
    lies outside of the map is zero, where the paper's code moves windows inside. Left out are the dilated
    reparametrization, the gate and SE around it, which are blocks of their own, and the overview network.

    Args:
        channels: C, a multiple of ``pair_channels``.
        wide: side of the large window in pixels, odd.
        small: side of the small window in pixels, odd.
        regions: regions along each side of the map, whose means are the context.
        pair_channels: channels, a multiple of 4, of a head with a small window and the next, with a large;
            half as many are in their q and k.

    Raises:
        ValueError: a width that is no multiple of a pair's.
    """

    def __init__(
        self,
        channels: int,
        *,
        wide: OddSize,
        small: OddSize = 3,
        regions: Positive = 7,
        pair_channels: Annotated[int, Field(ge=4, multiple_of=4)] = 16,
    ) -> None:
        super().__init__()
        pairs, rest = divmod(channels, pair_channels)
        if rest:
            raise ValueError(f"contmix needs a width that is a multiple of {pair_channels}, got {channels}")
        self.regions, self.pair_channels, self.sides = regions, pair_channels, (small, wide)
        self.q = ConvNorm(channels, channels // 2)
        self.k = ConvNorm(channels, channels // 2)
        # Windows of other sizes have weights of their own: the names say which one is which.
        self.small = LikenessTaps(regions**2, pairs, small)
        self.large = LikenessTaps(regions**2, pairs, wide)
        self.project = ConvNorm(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2], x.shape[3]
        down, right = (region_means(side, self.regions, x) for side in (height, width))
        context = down @ x @ right.transpose(0, 1)  # (B, C, regions, regions)
        inner = self.pair_channels // 4
        q, k = (
            part.flatten(2).unflatten(1, (-1, 2, inner)) for part in (self.q(x), self.k(context))
        )  # (B, pairs, 2, d, N or regions^2)
        likeness = k.transpose(-2, -1) @ q * inner**-0.5  # (B, pairs, 2, regions^2, N)
        heads = x.unflatten(1, (-1, 2, self.pair_channels // 2))  # (B, pairs, 2, channels of a head, H, W)
        mixed = []
        for turn, taps in enumerate((self.small, self.large)):
            weights = taps(likeness[:, :, turn]).unflatten(3, (height, width))
            part = heads[:, :, turn].flatten(1, 2)
            whole = windowed(part, weights, self.sides[turn], self.pair_channels // 2)
            mixed.append(whole.unflatten(1, (-1, self.pair_channels // 2)))
        joined = torch.stack(mixed, dim=2)  # (B, pairs, 2, channels of a head, H, W)
        result: Tensor = self.project(joined.flatten(1, 3))
        return result


class LikenessTaps(nn.Module):
    """Likeness to regions (B, heads, regions, N) to the weights of windows (B, heads, kernel^2, N).

    A linear map, the same for all heads, a bias for each head and pixel of the window, and a softmax over
    the window.
    """

    centre_dims: ClassVar = {"weight": (0, 1), "bias": (1, 2)}

    def __init__(self, regions: int, heads: int, kernel: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(kernel, kernel, regions))
        self.bias = nn.Parameter(torch.zeros(heads, kernel, kernel))
        nn.init.kaiming_uniform_(self.weight.view(-1, regions), a=5**0.5)

    def forward(self, likeness: Tensor) -> Tensor:
        logits = self.weight.flatten(0, 1) @ likeness + self.bias.flatten(1)[..., None]
        return torch.softmax(logits, dim=2)


register_mixer(
    Mixer(
        name="contmix",
        make=ContextMixing,
        choices=(Choice("wide", (5, 7, 9), role="kernel"),),
        channel_multiple="pair_channels",
    )
)
