"""Attention among tokens of which the most alike and least telling were fused first."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, fx, nn
from torch.nn import functional

from search_spaces.choice import Choice
from search_spaces.mixers.attention.heads import HEAD_CHANNELS, HeadChannels, HeadsBetween, heads_of
from search_spaces.mixers.registry import Mixer, register_mixer
from search_spaces.parts import ConvNorm

Share = Annotated[int | float, Field(ge=0.5, le=1)]
"""Part of the tokens; one fusing halves them at most."""

Power = Annotated[int | float, Field(ge=0)]
"""Exponent of a criterion; 0 leaves it out."""


class FusedTokens(nn.Module):
    """Attention among fused positions, dealt back to those they are of; (B, C, H, W) -> (B, C, H, W).

    "Multi-criteria Token Fusion with One-step-ahead Attention for Efficient Vision Transformers" (Lee et al.,
    CVPR 2024), sections 3.1 and 3.2: every other position looks for the one among the rest with which it has
    the most in common and the least to lose, similarity times the inverse of how informative both are; the
    pairs that have most of it are fused, each token weighed by how informative it is. In the paper later
    blocks see the fused tokens alone; here each position is given its token's result, so that every block may
    choose the mixer. So all tokens are single positions first, and their sizes, the third criterion, and the
    fusing of the other half, in which they matter, are left out. How informative a token is says the
    attention that the mean query pays to it, with a learned scale whatever the width, in the place of the
    next block's whole attention, which would cost what is to be saved. Which tokens are fused has no
    gradient; what they become has.

    Args:
        channels: C, a multiple of ``head_channels``.
        tokens_kept: share of the positions that are left as tokens, from a half on.
        head_channels: channels of a head.
        similarity: exponent of the similarity.
        information: exponent of the inverse of how informative tokens are.

    Raises:
        ValueError: a width that is no multiple of the head's.
    """

    def __init__(
        self,
        channels: int,
        *,
        tokens_kept: Share,
        head_channels: HeadChannels = HEAD_CHANNELS,
        similarity: Power = 1.0,
        information: Power = 1.0,
    ) -> None:
        super().__init__()
        self.kept = tokens_kept
        self.powers = (float(similarity), float(information))
        self.scale = nn.Parameter(torch.tensor([0.1]))
        self.query, self.key = ConvNorm(channels, channels), ConvNorm(channels, channels)
        self.mix = HeadsBetween(channels, heads_of(channels, head_channels, "fused_tokens"), head_channels)

    def forward(self, x: Tensor) -> Tensor:
        asked = self.query(x.mean(dim=(2, 3), keepdim=True)).flatten(2)  # (B, C, 1)
        logits = self.scale * (asked * self.key(x).flatten(2)).sum(dim=1, keepdim=True)
        told = torch.softmax(logits, dim=2)  # (B, 1, N)
        order, match = matched(x.flatten(2), logits, *self.powers)
        tokens = fused(x.flatten(2), told, order, match, self.kept).unsqueeze(3)
        mixed = self.mix(tokens, tokens).flatten(2)
        return dealt_back(mixed, order, match, self.kept, x)


def matched(x: Tensor, logits: Tensor, similarity: float, information: float) -> tuple[Tensor, Tensor]:
    """The odd positions of (B, C, N), best to be fused first, and the even one that each would go with.

    Args:
        x: tokens.
        logits: logarithms of how informative they are, up to a constant, (B, 1, N).
        similarity: exponent of the similarity.
        information: exponent of the inverse of how informative both are.

    Returns:
        Indices among the odd ones, int64 (B, N // 2), and among the even ones, likewise, in that order.
    """
    with torch.no_grad():
        even, odd = x[:, :, ::2], x[:, :, 1::2]
        alike = functional.normalize(odd, dim=1).transpose(1, 2) @ functional.normalize(even, dim=1)
        attraction = similarity * ((alike + 1) / 2).clamp(min=1e-6).log()  # (B, odd, even)
        telling = logits[:, :, 1::2].transpose(1, 2) + logits[:, :, ::2]
        most, match = (attraction - information * telling).max(dim=2)
        order = most.topk(int(x.shape[2]) // 2, dim=1).indices
        return order, match.gather(1, order)


def fused(x: Tensor, told: Tensor, order: Tensor, match: Tensor, kept: float) -> Tensor:
    """Tokens (B, C, K): the even ones with those fused into them, then the odd ones that are left."""
    gone = _gone(int(x.shape[2]), kept)
    # Two of no weight have no mean; gradients divide by squares of weights.
    told = told.clamp(min=torch.finfo(told.dtype).tiny ** 0.5)
    even, odd = x[:, :, ::2], x[:, :, 1::2].gather(2, order.unsqueeze(1).expand(-1, x.shape[1], -1))
    of_even, of_odd = told[:, :, ::2], told[:, :, 1::2].gather(2, order.unsqueeze(1))
    goes = _one_hot(match[:, :gone], even)  # (B, gone, even)
    weights = of_even + of_odd[:, :, :gone] @ goes
    sums = even * of_even + (odd * of_odd)[:, :, :gone] @ goes
    return torch.cat([sums / weights, odd[:, :, gone:]], dim=2)


def dealt_back(tokens: Tensor, order: Tensor, match: Tensor, kept: float, x: Tensor) -> Tensor:
    """Each position its token's values: (B, C, K) as a map of the shape of x."""
    positions = int(x.shape[2]) * int(x.shape[3])
    gone, n_odd = _gone(positions, kept), positions // 2
    n_even = positions - n_odd
    left = torch.arange(n_even, n_even + n_odd - gone, device=x.device).expand(x.shape[0], -1)
    back = order.topk(n_odd, dim=1, largest=False).indices  # the place that each odd one was moved to
    odd = torch.cat([match[:, :gone], left], dim=1).gather(1, back)
    even = torch.arange(n_even, device=x.device).expand(x.shape[0], -1)
    if positions % 2:
        odd = torch.cat([odd, even[:, :1]], dim=1)  # beside the last even one, and left out
    which = torch.stack([even, odd], dim=2).flatten(1)[:, :positions]
    return tokens.gather(2, which.unsqueeze(1).expand(-1, x.shape[1], -1)).reshape(x.shape)


for _name in ("matched", "fused", "dealt_back"):
    fx.wrap(_name)  # whoever folds norms traces without sizes


def _gone(positions: int, kept: float) -> int:
    """Tokens that are fused into others."""
    return min(round(positions * (1 - kept)), positions // 2)


def _one_hot(match: Tensor, like: Tensor) -> Tensor:
    """(B, n, M) of ones where an index (B, n) points, in the type of (B, C, M)."""
    return (match.unsqueeze(2) == torch.arange(int(like.shape[2]), device=like.device)).to(like.dtype)


register_mixer(
    Mixer(
        name="fused_tokens",
        make=FusedTokens,
        choices=(Choice("tokens_kept", (0.5, 0.75)),),
        channel_multiple="head_channels",
    )
)
