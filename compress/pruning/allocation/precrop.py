"""PreCrop: widths from the shapes of the layers alone."""

from __future__ import annotations

import torch
from torch import Tensor

from compress.pruning.allocation.allocating import ALLOCATIONS, Allocating

_ROUNDS = 40


@ALLOCATIONS.register("precrop")
def precrop(asked: Allocating) -> list[int]:
    """Densities that waste the least signal before any training, by the layers' cost alone.

    "Structured Pruning is All You Need for Pruning CNNs at Initialization" (Cai et al., 2022): the expected
    SynFlow score of a chain goes with the product of its layers' densities; its maximum under a budget of
    multiply-accumulates has the same cost left in every layer that is not whole. A density is the product of
    what is kept before and after a layer, which least squares of the logarithms give to the groups. Neither
    weights nor data are read, so that it serves networks that are not trained yet.
    """
    full = [group.channels for group in asked.groups]
    whole = torch.tensor(asked.layers.layer_macs(full), dtype=torch.float64)
    budget = asked.layers.macs(asked.evenly(asked.keep))
    densities = equal_costs(whole, budget / float(whole.sum()))
    logs = _by_group(asked, densities.log())

    def kept(shift: float) -> list[int]:
        return [asked.nearest(i, min(1.0, float((one + shift).exp()))) for i, one in enumerate(logs)]

    low, high = -6.0, 6.0  # a common factor for all, since rounding and residual sums change the cost
    for _ in range(_ROUNDS):
        middle = (low + high) / 2
        low, high = (middle, high) if asked.layers.macs(kept(middle)) <= budget else (low, middle)
    return kept(low)


def equal_costs(costs: Tensor, share: float) -> Tensor:
    """Densities min(1, c / cost) with the c at which the whole costs that share, double (layers,).

    Args:
        costs: Cost of each layer when it is whole, double (layers,).
        share: Share of the whole cost that is left, in (0, 1].
    """
    low, high = 0.0, float(costs.max())
    for _ in range(100):
        middle = (low + high) / 2
        left = float(torch.minimum(costs, torch.tensor(middle, dtype=costs.dtype)).sum())
        low, high = (middle, high) if left <= share * float(costs.sum()) else (low, middle)
    return (low / costs.clamp_min(1e-12)).clamp(max=1.0).clamp_min(1e-6)


def _by_group(asked: Allocating, logs: Tensor) -> Tensor:
    """Logarithms of the groups' shares whose sums are nearest to those of the layers, (groups,)."""
    rows = []
    for reads, makes in asked.layers.groups_of():
        row = torch.zeros(len(asked.groups), dtype=torch.float64)
        for index in (*reads, *makes):
            row[index] += 1
        rows.append(row)
    ridge = 1e-3 * torch.eye(len(asked.groups), dtype=torch.float64)
    matrix = torch.stack(rows)
    return torch.linalg.solve(matrix.T @ matrix + ridge, matrix.T @ logs).clamp(max=0.0)
