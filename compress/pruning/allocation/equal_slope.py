"""Equal slope: every group is cut to where another channel costs as much quality for the time it saves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.utils import _pytree as trees

from compress.pruning.allocation.allocating import ALLOCATIONS, Allocating
from compress.pruning.importance import IMAGES
from compress.pruning.members import makers, readers

_ROUNDS, _LEAST, _MOST = 60, 1e-12, 1e12  # of the slope at which all is lost for all that is saved


@ALLOCATIONS.register("equal_slope", needs={IMAGES})
def equal_slope(
    asked: Allocating,
    *,
    batches: Annotated[int, Field(ge=1)] = 8,
    damping: Annotated[float, Field(ge=0)] = 1e-3,
) -> list[int]:
    """The amounts at which all groups lose as much of the outputs for what they save.

    "LPViT: Low-Power Semi-structured Pruning for Vision Transformers" (Xu et al., ECCV 2024), with channels
    in the place of blocks of weights: a group's distortion over the amount cut is the mean over batches of
    the square of the gradient of the outputs' mean square along what is cut, and ``damping`` times what is
    cut squared. On the lower hull of that curve each group stands where the slope is the common one. What is
    saved is measured latency where there is a target, else multiply-accumulates.

    Args:
        asked: Channels to be shared out.
        batches: Batches of images, a backward pass each.
        damping: Weight of the weights that are cut beside the gradient along them.
    """
    along, energy = _unit_gradients(asked, batches)
    amounts, curves, costs = [], [], []
    full = [group.channels for group in asked.groups]
    for index, group in enumerate(asked.groups):
        counts = asked.allowed[index][::-1]  # from whole to least
        order = torch.argsort(asked.scores[index], stable=True)
        moved = along[index][:, order].cumsum(1)  # (batches, units): what the lowest units move together
        weight = energy[index][order].cumsum(0)
        curve = [0.0]
        for count in counts[1:]:
            last = (group.channels - count) // (group.run * group.parts) - 1
            curve.append(float(0.5 * moved[:, last].square().mean() + 0.5 * damping * weight[last]))
        amounts.append(counts)
        curves.append(curve)
        costs.append([asked.cost([*full[:index], count, *full[index + 1 :]]) for count in counts])
    budget = asked.cost(asked.evenly(asked.keep))
    return at_equal_slope(amounts, curves, costs, lambda kept: asked.cost(kept) <= budget)


def at_equal_slope(
    amounts: Sequence[Sequence[int]],
    curves: Sequence[Sequence[float]],
    costs: Sequence[Sequence[float]],
    fits: Callable[[list[int]], bool],
) -> list[int]:
    """The amount of each curve at which it is lowest over a line of the least common slope that fits.

    Args:
        amounts: Amounts of each group, the whole first.
        curves: Distortion of each amount.
        costs: Cost of each amount.
        fits: Whether amounts, one of each group, cost little enough.
    """
    most = max((cost[0] - min(cost) for cost in costs), default=0.0) or 1.0
    unit = (max(map(max, curves), default=0.0) or 1.0) / most  # outputs and costs come in any size

    def at(slope: float) -> list[int]:
        found = []
        for counts, curve, cost in zip(amounts, curves, costs, strict=True):
            lines = [bend - slope * unit * (cost[0] - each) for bend, each in zip(curve, cost, strict=True)]
            found.append(counts[min(range(len(lines)), key=lambda place: (lines[place], place))])
        return found

    low, high = _LEAST, _MOST
    for _ in range(_ROUNDS):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if fits(at(middle)) else (middle, high)
    return at(high)


def _unit_gradients(asked: Allocating, batches: int) -> tuple[list[Tensor], list[Tensor]]:
    """Change of the outputs' mean square along each unit, (batches, units); its weights squared, (units,)."""
    material = asked.material
    layers = [readers(parts) or makers(parts) for _, parts in material.groups]
    weights = list({member.weight: None for each in layers for member in each})
    along: list[list[Tensor]] = [[] for _ in layers]
    for images in material.given_images().chunk(batches):
        outputs = trees.tree_leaves(material.network(images))
        loss = torch.stack([one.square().mean() for one in outputs if isinstance(one, Tensor)]).sum()
        found = torch.autograd.grad(loss, weights, allow_unused=True)
        gradients = dict(zip(weights, found, strict=True))
        for group, each, rows in zip(asked.groups, layers, along, strict=True):
            channels = torch.zeros(group.channels, dtype=torch.float64)
            for member in each:
                if (gradient := gradients[member.weight]) is not None:
                    moved = member.slices((gradient * member.weight.detach()).double()).sum(1)
                    channels += member.summed(moved, group.channels)
            rows.append(channels[group.units].sum(1))
    energy = []
    for group, each in zip(asked.groups, layers, strict=True):
        channels = torch.zeros(group.channels, dtype=torch.float64)
        for member in each:
            squares = member.slices(member.weight.detach().double().square()).sum(1)
            channels += member.summed(squares, group.channels)
        energy.append(channels[group.units].sum(1))
    return [torch.stack(rows) for rows in along], energy
