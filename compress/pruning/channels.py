"""Channels that go together, and cutting or masking them.

torch-pruning's dependency graph (DepGraph, Fang et al., CVPR 2023) says which slices of which layers must
go when one channel goes. Whether that is the whole truth about a network is found out in ``groups``.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from results.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut(Record):
    """What is kept of one group; a sequence of cuts rebuilds a pruned network from the whole one.

    Attributes:
        root: name of the group's leading layer.
        channels: how many it had.
        kept: indices of the channels that stay, ascending.
    """

    root: str
    channels: int
    kept: tuple[int, ...]

    @property
    def dropped(self) -> list[int]:
        """Indices of the channels that go, ascending."""
        return sorted(set(range(self.channels)) - set(self.kept))


def cut_channels(network: nn.Module, example: Tensor, cuts: Iterable[Cut]) -> nn.Module:
    """A copy with those channels removed from every layer they run through.

    Args:
        network: network as it was when the cuts were made; it is left untouched.
        example: an input (B, ...).
        cuts: applied in order.

    Raises:
        ValueError: a cut does not belong to this network.
    """
    pruned = copy.deepcopy(network)
    graph = dependency_graph(pruned, example)
    for cut in cuts:
        pruning_group(graph, pruned, cut).prune()
    return pruned


def mask_channels(network: nn.Module, example: Tensor, cuts: Iterable[Cut]) -> nn.Module:
    """A copy of the same shape with those channels set to zero in every layer they run through.

    Raises:
        ValueError: a cut does not belong to this network.
    """
    masked = copy.deepcopy(network)
    graph = dependency_graph(masked, example)
    for cut in cuts:
        mask(pruning_group(graph, masked, cut))
    return masked


def dependency_graph(network: nn.Module, example: Tensor) -> Any:
    """torch-pruning's dependency graph of the network itself, traced on one example.

    Raises:
        ValueError: the network does not run on the example.
    """
    modes = [(part, part.training) for part in network.modules()]
    try:
        with torch.enable_grad():
            device = next((parameter.device for parameter in network.parameters()), example.device)
            return tp.DependencyGraph().build_dependency(
                network.eval(), example[:1].to(device), verbose=False
            )
    except Exception as error:  # whatever the user's forward raises
        raise ValueError(
            f"{type(network).__name__} cannot be traced on an input of {tuple(example.shape)}: {error}"
        ) from error
    finally:
        for part, training in modes:
            part.training = training


def pruning_group(graph: Any, network: nn.Module, cut: Cut) -> Any:
    """torch-pruning's group of everything that goes with a cut.

    Raises:
        ValueError: the cut does not belong to this network.
    """
    modules = dict(network.named_modules())
    module = modules.get(cut.root)
    if module is None or graph.get_out_channels(module) != cut.channels:
        found = "no such layer" if module is None else f"{graph.get_out_channels(module)} channels"
        raise ValueError(
            f"a cut of {cut.root!r} from {cut.channels} to {len(cut.kept)} channels does not belong to this "
            f"network, which has {found} there"
        )
    handler = graph.get_pruner_of_module(module).prune_out_channels
    return graph.get_pruning_group(module, handler, cut.dropped)


@torch.no_grad()
def mask(group: Any) -> None:
    """Zeroes, in place, what cutting the group would remove."""
    for dependency, indices in group:
        module = dependency.target.module
        parameter = module if isinstance(module, nn.Parameter) else next(module.parameters(), None)
        if parameter is not None:
            _zero(dependency, torch.as_tensor(indices, device=parameter.device))


def _zero(dependency: Any, indices: Tensor) -> None:
    module = dependency.target.module
    if isinstance(module, nn.Parameter):
        module.index_fill_(dependency.target.pruning_dim, indices, 0)
    elif isinstance(module, _ConvNd | nn.Linear):
        incoming = dependency.handler.__name__ == "prune_in_channels"
        if incoming and isinstance(module, _ConvNd) and module.groups > 1:
            return  # what comes in is zero already, and the slices do not line up
        dimension = int(incoming) ^ int(isinstance(module, _ConvTransposeNd))
        module.weight.index_fill_(dimension, indices, 0)
        if module.bias is not None and not incoming:
            module.bias.index_fill_(0, indices, 0)
    elif isinstance(module, _BatchNorm) and module.affine:
        module.weight.index_fill_(0, indices, 0)
        module.bias.index_fill_(0, indices, 0)
