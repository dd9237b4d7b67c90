"""The layers of a group of channels, and which slices of their weights belong to which channel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

Role = Literal["makes", "reads", "norm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A layer that channels of a group run through.

    Attributes:
        module: Layer, with a weight.
        role: Whether the channels are made by it, read by it, or scaled by it.
        places: Indices of its outputs, of its inputs, or of its scales, long (places,).
        channels: Channel of the group at each place, long (places,).
    """

    module: nn.Module
    role: Role
    places: Tensor
    channels: Tensor

    def slices(self, of: Tensor) -> Tensor:
        """The entries that belong to each place, (places, entries).

        Args:
            of: The layer's weight, or a tensor of its shape such as its gradient.
        """
        return by_place(self.module, self.role, of)[self.places]

    @property
    def weight(self) -> nn.Parameter:
        """The layer's weight."""
        weight = self.module.weight
        assert isinstance(weight, nn.Parameter)
        return weight

    def summed(self, values: Tensor, channels: int) -> Tensor:
        """Values of places (places,) added up by channel, (channels,)."""
        return values.new_zeros(channels).index_add_(0, self.channels.to(values.device), values)


def members(group: Any) -> list[Member]:
    """The convolutions, linear layers and norms with weights that a torch-pruning group runs through."""
    return list(_members(group))


def makers(group: Any) -> list[Member]:
    """Those that make its channels."""
    return [member for member in _members(group) if member.role == "makes"]


def readers(group: Any) -> list[Member]:
    """Those that read its channels."""
    return [member for member in _members(group) if member.role == "reads"]


def _members(group: Any) -> Iterator[Member]:
    for item in group:
        module = item.dep.target.module
        roots = getattr(item, "root_idxs", None)
        if roots is None or None in roots or len(roots) != len(item.idxs):
            continue  # torch-pruning lost track of the channels on the way
        role: Role
        if isinstance(module, _ConvNd | nn.Linear):
            reads = item.dep.handler.__name__ == "prune_in_channels"
            role = "reads" if reads else "makes"
        elif isinstance(module, _BatchNorm | nn.GroupNorm) or (
            isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1
        ):
            if module.weight is None:
                continue
            role = "norm"
        else:
            continue
        yield Member(module=module, role=role, places=torch.tensor(item.idxs), channels=torch.tensor(roots))


def by_place(module: nn.Module, role: Role, weight: Tensor) -> Tensor:
    """A weight sorted by what goes in, or by what comes out, (places, entries); entries may share memory.

    Args:
        module: Its layer.
        role: ``reads`` for what goes in.
        weight: Tensor of the weight's shape.
    """
    turned = isinstance(module, _ConvTransposeNd)
    groups = module.groups if isinstance(module, _ConvNd) else 1
    if role == "norm":
        return weight.unsqueeze(1)
    if groups == 1:
        swap = (role == "reads") != turned
        return (weight.transpose(0, 1) if swap else weight).flatten(1)
    if (role == "reads") == turned:  # the first dimension is the wanted one, whole
        return weight.flatten(1)
    inside = weight.unflatten(0, (groups, -1)).transpose(1, 2)  # (groups, within a group, others, ...)
    return inside.flatten(0, 1).flatten(1)
