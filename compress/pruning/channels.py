"""Channels that go together, and cutting them.

torch-pruning's dependency graph (DepGraph, Fang et al., CVPR 2023) says which slices of which layers must
go when one channel goes. Whether that is the whole truth about a network is found out in ``groups``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn

from compress.plain import faithful_copy, plain_copy
from compress.pruning.walk import Walk, watched
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


def cut_channels(network: nn.Module, example: Tensor, cuts: Collection[Cut]) -> nn.Module:
    """A copy with those channels removed from every layer they run through.

    Weights that are computed (weight norm and the like) are ordinary ones in it, unless there is no cut.

    Args:
        network: network as it was when the cuts were made; it is left untouched.
        example: an input (B, ...).
        cuts: applied in order.

    Raises:
        ValueError: a cut does not belong to this network, or what is left is not what the cuts say.
    """
    if not cuts:
        return faithful_copy(network)
    pruned = plain_copy(network)
    trainable = {name: parameter.requires_grad for name, parameter in pruned.named_parameters()}
    graph = dependency_graph(pruned, example)
    for cut in cuts:
        pruning_group(graph, pruned, cut).prune()
    for name, parameter in pruned.named_parameters():
        parameter.requires_grad_(trainable[name])
    refuse_other_widths(pruned, cuts)
    return pruned


def refuse_other_widths(pruned: nn.Module, cuts: Iterable[Cut]) -> None:
    """Compares a network that was cut with what the cuts say.

    Raises:
        ValueError: a layer has another number of channels than were kept, or none.
    """
    for name, width in {cut.root: len(cut.kept) for cut in cuts}.items():
        layer = pruned.get_submodule(name)
        found = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
        if found != width:
            raise ValueError(f"{name} was to keep {width} channels and has {found}")
    for name, parameter in pruned.named_parameters():
        if parameter.numel() == 0:
            raise ValueError(f"nothing is left of {name}")


class _LayerNormPruner(tp.pruner.function.LayernormPruner):
    """torch-pruning's leaves the order of what it keeps to a set."""

    def prune_out_channels(self, layer: nn.LayerNorm, idxs: list[int]) -> nn.LayerNorm:
        """Cuts those channels; over several dimensions it is left to fail when it is run."""
        if len(layer.normalized_shape) == 1:
            kept = [index for index in range(layer.normalized_shape[0]) if index not in set(idxs)]
            layer.normalized_shape = (len(kept),)
            for name in ("weight", "bias"):
                if getattr(layer, name) is not None:
                    setattr(layer, name, self._prune_parameter_and_grad(getattr(layer, name), kept, 0))
        return layer

    prune_in_channels = prune_out_channels


class _GroupNormPruner(tp.pruner.function.GroupNormPruner):
    """torch-pruning's keeps the number of groups, and so normalises other channels together."""

    def prune_out_channels(self, layer: nn.GroupNorm, idxs: list[int]) -> nn.GroupNorm:
        """Cuts those channels, and the groups of which none is left."""
        size, gone = layer.num_channels // layer.num_groups, set(idxs)
        left = {index // size for index in range(layer.num_channels) if index not in gone}
        layer.num_groups = max(1, len(left))
        super().prune_out_channels(layer, idxs)
        return layer

    prune_in_channels = prune_out_channels


def dependency_graph(
    network: nn.Module, example: Tensor, pruners: Mapping[type[nn.Module], Any] | None = None
) -> Any:
    """torch-pruning's dependency graph of the network itself, traced on one example.

    Args:
        network: any module that takes one tensor.
        example: an input (B, ...).
        pruners: torch-pruning's functions for further classes of modules.

    Raises:
        ValueError: the network does not take one tensor, or does not run on the example.
    """
    kind = type(network).__name__
    if not isinstance(example, Tensor):
        raise ValueError(
            f"{kind} cannot be pruned: only networks that take one tensor can, and its example has to be "
            f"one; got a {type(example).__name__}"
        )
    modes = [(part, part.training) for part in network.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    given = one_input(network, example)
    try:
        for parameter, _ in flags:  # the graph follows gradients: frozen layers would not be in it
            parameter.requires_grad_(parameter.is_floating_point())
        with torch.enable_grad():
            graph = tp.DependencyGraph().build_dependency(
                network.eval(),
                given,
                verbose=False,
                customized_pruners={
                    nn.LayerNorm: _LayerNormPruner(),
                    nn.GroupNorm: _GroupNormPruner(),
                    **(pruners or {}),
                },
            )
        return watched(graph)
    except Exception as error:  # whatever the user's forward raises, and torch-pruning
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if isinstance(error, ZeroDivisionError):
            reason = "it makes out no channels at one of the reshapes"
        who = "torch-pruning cannot trace it" if runs(network, given) else "it cannot be traced"
        raise ValueError(
            f"{kind} cannot be pruned: {who} on an input of {tuple(example.shape)} ({reason})"
        ) from error
    finally:
        for part, training in modes:
            part.training = training
        for parameter, trainable in flags:
            parameter.requires_grad_(trainable)


def one_input(network: nn.Module, example: Tensor) -> Tensor:
    """The first of some inputs, (1, ...), on the network's device and in its number format."""
    first = next((parameter for parameter in network.parameters() if parameter.is_floating_point()), None)
    given = example[:1]
    if first is None:
        return given
    return given.to(first.device, first.dtype) if given.is_floating_point() else given.to(first.device)


def runs(network: nn.Module, given: Tensor) -> bool:
    """Whether a network takes an input."""
    try:
        with torch.no_grad():
            network(given)
    except Exception:  # whatever the user's forward raises
        return False
    return True


def pruning_group(graph: Any, network: nn.Module, cut: Cut) -> Any:
    """torch-pruning's group of everything that goes with a cut.

    Raises:
        ValueError: the cut does not belong to this network, or would take other channels of its layer along.
    """
    modules = dict(network.named_modules())
    module = modules.get(cut.root)
    if module is None or graph.get_out_channels(module) != cut.channels:
        found = "no such layer" if module is None else f"{graph.get_out_channels(module)} channels"
        raise ValueError(
            f"a cut of {cut.root!r} from {cut.channels} to {len(cut.kept)} channels does not belong to this "
            f"network, which has {found} there"
        )
    group = group_of(graph, module, cut.dropped)
    taken = channels_taken(graph, group, module)
    if taken != set(cut.dropped):
        raise ValueError(
            f"{len(taken)} channels of {cut.root} hang together where {len(cut.dropped)} are to be cut"
        )
    return group


def group_of(graph: Any, module: nn.Module, channels: Iterable[int]) -> Any:
    """torch-pruning's group of everything that goes with some output channels of a layer.

    Raises:
        ValueError: reshapes on the way multiply the channels, or move them on, without an end, which
            torch-pruning follows.
    """
    walk: Walk = graph.walk
    walk.begin()
    return graph.get_pruning_group(
        module, graph.get_pruner_of_module(module).prune_out_channels, list(channels)
    )


def channels_taken(graph: Any, group: Any, module: nn.Module) -> set[int]:
    """Output channels of a layer that a group takes."""
    return {
        index
        for dependency, indices in group
        if dependency.target.module is module and graph.is_out_channel_pruning_fn(dependency.handler)
        for index in indices
    }
