"""Criteria that look at derivatives of the loss."""

from __future__ import annotations

from typing import Annotated, Any

import torch
import torch_pruning as tp
from pydantic import Field
from torch import Tensor, nn

from compress.pruning.importance import CRITERIA, GRADIENTS, LOSS, Material
from compress.pruning.members import members


@CRITERIA.register("taylor", needs={GRADIENTS})
def taylor(group: Any) -> Tensor:
    """First-order estimate of the loss without the channel.

    "Importance Estimation for Neural Network Pruning" (Molchanov et al., CVPR 2019), equation 8.
    """
    scores: Tensor = tp.importance.GroupTaylorImportance()(group)
    return scores


@CRITERIA.register("hessian", needs={LOSS})
class Hessian:
    """Second-order estimate of the loss without the channel, from the Hessian's diagonal.

    "Optimal Brain Damage" (LeCun et al., NIPS 1989), equation 5, half of h w squared, added up over a
    channel's weights and averaged over the layers it runs through. The diagonal is Hutchinson's estimate, the
    mean of z times (H z) over vectors z of random signs.

    Args:
        draws: Vectors of random signs, each at the price of two backward passes.
        seed: Seed of the draws; the one of the run where none is given.
    """

    def __init__(
        self, *, draws: Annotated[int, Field(ge=1)] = 8, seed: Annotated[int, Field(ge=0)] = 0
    ) -> None:
        self._draws, self._seed = draws, seed
        self._diagonal: dict[nn.Parameter, Tensor] = {}

    def look(self, material: Material) -> None:
        """Estimates the diagonal for all weights at once."""
        generator = torch.Generator().manual_seed(self._seed)
        weights = [one for one in material.network.parameters() if one.requires_grad]
        loss = material.given_loss()(material.network)
        first = torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True)
        used = [(w, g) for w, g in zip(weights, first, strict=True) if g is not None and g.requires_grad]
        totals = [torch.zeros_like(weight) for weight, _ in used]
        for _ in range(self._draws):
            signs = [
                torch.randint(0, 2, w.shape, generator=generator).to(w.device, w.dtype) * 2 - 1
                for w, _ in used
            ]
            second = torch.autograd.grad(
                [g for _, g in used],
                [w for w, _ in used],
                grad_outputs=signs,
                retain_graph=True,
                allow_unused=True,
            )
            for total, sign, one in zip(totals, signs, second, strict=True):
                if one is not None:
                    total += sign * one / self._draws
        self._diagonal = {weight: total for (weight, _), total in zip(used, totals, strict=True)}

    def __call__(self, group: Any) -> Tensor:
        """Rise of the loss for each channel, (channels,); none is below zero."""
        channels, found = len(group[0].idxs), []
        for member in members(group):
            diagonal = self._diagonal.get(member.weight)
            if diagonal is not None:
                rise = 0.5 * member.slices(diagonal * member.weight.detach().square()).sum(1)
                found.append(member.summed(rise, channels))
        if not found:
            raise ValueError("the loss has no second derivative in their weights")
        return torch.stack(found).mean(0).clamp_min(0)
