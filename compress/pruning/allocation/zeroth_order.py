"""ECoFLaP: shares by how the loss answers to noise in a layer's weights, without a backward pass."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from compress.pruning.allocation.allocating import ALLOCATIONS, Allocating
from compress.pruning.importance import LOSS
from compress.pruning.members import makers


@ALLOCATIONS.register("zeroth_order", needs={LOSS})
def zeroth_order(
    asked: Allocating,
    *,
    noise: Annotated[float, Field(gt=0)] = 1e-3,
    draws: Annotated[int, Field(ge=1)] = 2,
    least: Annotated[float, Field(gt=0, lt=1)] = 0.2,
    seed: Annotated[int, Field(ge=0)] = 0,
) -> list[int]:
    """More channels where noise in the weights moves the loss more, by forward passes alone.

    "ECoFLaP: Efficient Coarse-to-Fine Layer-Wise Pruning for Vision-Language Models" (Sung et al., ICLR
    2024), section 3.2: the weights of a layer are moved by noise, there and back; the difference of the
    losses over the way is its gradient's length along the noise. Every group has a least share; the other
    channels are shared out by that score, none beyond what a group has.

    Args:
        asked: Channels to be shared out.
        noise: Size of the noise.
        draws: Draws of the noise, each at the price of two forward passes a group.
        least: Share that every group keeps at least.
        seed: Seed of the noise; the one of the run where none is given.
    """
    scores = []
    for _, parts in asked.material.groups:
        weights = [member.weight for member in makers(parts)]
        scores.append(sum(_slope(asked, weights, noise, seed + draw) for draw in range(draws)) / draws)
    sizes = [float(group.channels) for group in asked.groups]
    shares = shared_out(scores, sizes, asked.keep, min(least, asked.keep))
    return [asked.nearest(index, share) for index, share in enumerate(shares)]


def _slope(asked: Allocating, weights: list[nn.Parameter], noise: float, seed: int) -> float:
    """Length of the loss's gradient in those weights along a random direction."""
    loss, network = asked.material.given_loss(), asked.material.network
    before = [weight.detach().clone() for weight in weights]
    losses = []
    with torch.no_grad():
        for sign in (1.0, -1.0):
            generator = torch.Generator().manual_seed(seed)  # the same noise again, not kept
            for weight, value in zip(weights, before, strict=True):
                draw = torch.randn(weight.shape, generator=generator).to(weight.device, weight.dtype)
                weight.copy_(value + sign * noise * draw)
            losses.append(float(loss(network)))
        for weight, value in zip(weights, before, strict=True):
            weight.copy_(value)
    return abs(losses[0] - losses[1]) / (2 * noise)


def shared_out(scores: list[float], sizes: list[float], keep: float, least: float) -> list[float]:
    """Shares of each group: the least, and of what is left in proportion to the scores, none above 1.

    Args:
        scores: Score of each group, not below zero.
        sizes: Channels of each group.
        keep: Share of all channels that is kept, in (0, 1].
        least: Share that each keeps, at most ``keep``.
    """
    kept = [least * size for size in sizes]
    left = keep * sum(sizes) - sum(kept)
    open_ones = set(range(len(sizes)))
    while left > 1e-9 and open_ones:
        total = sum(scores[index] for index in open_ones)
        parts = {
            index: left * (scores[index] / total if total else 1 / len(open_ones)) for index in open_ones
        }
        left = 0.0
        for index, part in parts.items():
            room = sizes[index] - kept[index]
            kept[index] += min(part, room)
            if part >= room:
                left += part - room
                open_ones.remove(index)
    return [one / size for one, size in zip(kept, sizes, strict=True)]
