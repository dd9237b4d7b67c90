"""Channels of a network in the order of their importance, so that narrower networks keep the best of them.

"Once-for-All: Train One Network and Specialize it for Efficient Deployment" (Cai et al., ICLR 2020), section
3.3: channels are sorted by the size of their weights before narrower networks share the leading ones. There
the weights that read them count (their sum of sizes); here all that hold them, each with the channel's share
of its squares, as channels of a residual stream run through many layers of different scales.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping

import torch
from torch import Tensor, nn

from nas.from_network.cutting import Place, Stretch, Stretches

Orders = Mapping[str, Tensor]
"""Units of the network in the order in which a group has them, int64 (units,), by the group's name."""


def by_importance(network: nn.Module, layout: Mapping[Place, Stretches], groups: Collection[str]) -> Orders:
    """The order of the units of groups, the most important first; of equal ones the earlier.

    Args:
        network: the whole network.
        layout: the stretches of each of its dimensions that follows some group.
        groups: names of the groups that are wanted.
    """
    shares: dict[str, Tensor] = {}
    for (path, tensor, dim), stretches in layout.items():
        weight = network.get_submodule(path)._parameters.get(tensor)
        if tensor == "bias" or weight is None:
            continue
        others = [other for other in range(weight.dim()) if other != dim]
        squares = weight.detach().double().square()
        squares = squares.sum(others) if others else squares
        for start, one in _starts(stretches):
            if one.group in groups:
                own = squares[start : start + one.length].unflatten(0, (one.units, one.each)).sum(dim=1)
                share = own / own.sum().clamp(min=torch.finfo(own.dtype).tiny)
                shares[one.group] = shares.get(one.group, torch.zeros_like(share)) + share
    return {name: share.argsort(descending=True, stable=True) for name, share in shares.items()}


def in_order(network: nn.Module, layout: Mapping[Place, Stretches], orders: Orders) -> nn.Module:
    """A copy of the network whose groups of channels stand in these orders; it computes the same.

    Args:
        network: the whole network; left untouched.
        layout: the stretches of each of its dimensions that follows some group.
        orders: orders of groups; units of others stay where they are.
    """
    network = copy.deepcopy(network)
    with torch.no_grad():
        for (path, name, dim), stretches in layout.items():
            module = network.get_submodule(path)
            tensor = {**module._buffers, **module._parameters}.get(name)
            if tensor is not None:
                moved = tensor.index_select(dim, _index(stretches, orders).to(tensor.device))
                tensor.copy_(moved)
    return network


def _index(stretches: Stretches, orders: Orders) -> Tensor:
    """Entries of a dimension in their new order."""
    parts = []
    for start, one in _starts(stretches):
        entries = torch.arange(start, start + one.length)
        if one.group in orders:
            entries = entries.unflatten(0, (one.units, one.each))[orders[one.group].cpu()].flatten()
        parts.append(entries)
    return torch.cat(parts)


def _starts(stretches: Stretches) -> Iterator[tuple[int, Stretch]]:
    start = 0
    for one in stretches:
        yield start, one
        start += one.length
