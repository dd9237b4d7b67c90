"""Channels as they run through a network: which entries of which weights belong to the same channel."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch_pruning as tp
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from compress.pruning.channels import channels_taken, dependency_graph, group_of
from compress.pruning.groups import Refused, in_words, random_copy
from compress.pruning.masks import unmaskable
from nas.from_network.cutting import Place


class _WholeGroups1d(nn.Conv1d):
    """A convolution in groups, of which whole groups go: what comes in goes with what comes out."""


class _WholeGroups2d(nn.Conv2d):
    """The same for images."""


_WHOLE_GROUPS = {nn.Conv1d: _WholeGroups1d, nn.Conv2d: _WholeGroups2d}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Flow:
    """Channels that run through several layers.

    Attributes:
        root: name of the layer whose output channels number them.
        channels: how many it has.
        parts: equal parts of these that go together (3 where queries, keys and values are one layer).
        run: channels that can only go together, by the layers they run through (a group of a norm).
        places: channel of each entry of a dimension that they reach, -1 where it is none.
        producers: names of the layers that they come out of, in the network's order.
        consumers: names of the layers that they go into.
    """

    root: str
    channels: int
    parts: int
    run: int
    places: Mapping[Place, NDArray[np.int64]]
    producers: tuple[str, ...]
    consumers: tuple[str, ...]

    @property
    def width(self) -> int:
        """Channels of each part."""
        return self.channels // self.parts


class Traced:
    """A copy of a network, its weights random, with torch-pruning's graph of it.

    Args:
        network: network of one input, its attention opened (``taken_up``); left untouched.
        example: an input (B, ...).

    Raises:
        ValueError: it cannot be traced.
    """

    def __init__(self, network: nn.Module, example: Tensor) -> None:
        self.network, self.images, self.tolerance = random_copy(network, example)
        try:
            self.graph = _graph(self.network, self.images)
        except ValueError as error:
            raise ValueError(str(error).replace("cannot be pruned", "cannot be taken apart")) from error
        self.names = {module: name for name, module in self.network.named_modules()}
        self._order = {name: at for at, name in enumerate(self.names.values())}

    def flows(self) -> tuple[list[Flow], list[Refused]]:
        """All channels of the network, and those that cannot be followed, each with the reason."""
        seen: set[nn.Module] = set()
        flows, refused = [], []
        found = [one for one in self.graph.module2node if isinstance(one, tp.ops.TORCH_CONV | nn.Linear)]
        for module in sorted(found, key=lambda one: self._order[self.names[one]]):
            if module in seen:
                continue
            name, channels = self.names[module], int(self.graph.get_out_channels(module))
            try:
                whole = group_of(self.graph, module, range(channels))
                one = group_of(self.graph, module, [channels // 2])
                taken = len(channels_taken(self.graph, one, module))
            except Exception as error:  # torch-pruning raises what it likes on layers that it does not know
                reason = f"torch-pruning cannot follow them ({in_words(error)})"
                refused.append(Refused(root=name, channels=channels, reason=reason))
                continue
            seen |= {item.dep.target.module for item in whole.items if self._comes_out(item.dep)}
            reason = unmaskable(((item.dep, item.idxs) for item in whole.items), self.names)
            if reason or channels < 2:
                reason = reason or "there is only one"
                refused.append(Refused(root=name, channels=channels, reason=reason))
                continue
            try:
                flows.append(self._flow(name, channels, 1 if channels % taken else taken, whole.items))
            except (
                IndexError
            ):  # of a layer, where torch-pruning loses count (concatenations of concatenations)
                reason = "torch-pruning cannot follow them (it counts more than there are)"
                refused.append(Refused(root=name, channels=channels, reason=reason))
        return flows, refused

    def _flow(self, root: str, channels: int, parts: int, items: list[Any]) -> Flow:
        places: dict[Place, NDArray[np.int64]] = {}
        producers: set[str] = set()
        consumers: set[str] = set()
        run = 1
        for item in items:
            module = item.dep.target.module
            if isinstance(
                module, nn.Conv1d | nn.Conv2d | nn.ConvTranspose1d | nn.ConvTranspose2d | nn.Linear
            ):
                (producers if self._comes_out(item.dep) else consumers).add(self.names[module])
            if isinstance(module, nn.GroupNorm):
                run = math.lcm(run, module.num_channels // module.num_groups)
            elif isinstance(module, _WholeGroups1d | _WholeGroups2d):
                run = math.lcm(run, module.out_channels // module.groups)
            for place, length in self._dimensions(item.dep):
                where = places.setdefault(place, np.full(length, -1, dtype=np.int64))
                where[np.asarray(item.idxs)] = np.asarray(item.root_idxs)
        return Flow(
            root=root,
            channels=channels,
            parts=parts,
            run=run,
            places=places,
            producers=tuple(sorted(producers, key=self._order.__getitem__)),
            consumers=tuple(sorted(consumers, key=self._order.__getitem__)),
        )

    def _comes_out(self, dependency: Any) -> bool:
        return bool(self.graph.is_out_channel_pruning_fn(dependency.handler))

    def _dimensions(self, dependency: Any) -> Iterator[tuple[Place, int]]:
        """The dimensions of a layer that a dependency is about, and how long they are."""
        module = dependency.target.module
        if isinstance(module, nn.Parameter):
            path, _, own = self.graph._param_to_name[module].rpartition(".")
            dim = int(dependency.target.pruning_dim)
            yield (path, own, dim), module.shape[dim]
            return
        path = self.names.get(module)
        if path is None:  # torch-pruning's stand-in for a function
            return
        tensors: dict[str, int] = {}
        if isinstance(module, _ConvNd | nn.Linear):
            incoming = dependency.handler.__name__ == "prune_in_channels"
            if incoming and isinstance(module, _ConvNd) and module.groups > 1:
                return
            swapped = isinstance(module, _ConvTransposeNd) and module.groups == 1
            tensors = {"weight": int(incoming) ^ int(swapped)} | ({} if incoming else {"bias": 0})
        elif isinstance(module, _NormBase):
            tensors = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), 0)
        elif isinstance(module, nn.LayerNorm | nn.GroupNorm):
            tensors = {"weight": 0, "bias": 0}
        elif isinstance(module, nn.Embedding):
            tensors = {"weight": 1}
        elif isinstance(module, nn.PReLU) and module.num_parameters > 1:
            tensors = {"weight": 0}
        for name, dim in tensors.items():
            tensor = getattr(module, name, None)
            if tensor is not None:
                yield (path, name, dim), tensor.shape[dim]
        if isinstance(module, _NormBase):
            yield (path, "", 0), module.num_features
        elif isinstance(module, nn.LayerNorm):
            yield (path, "", 0), module.normalized_shape[0]
        elif isinstance(module, nn.GroupNorm):
            yield (path, "", 0), module.num_channels


def _graph(network: nn.Module, images: Tensor) -> Any:
    for module in network.modules():
        if isinstance(module, _ConvNd) and 1 < module.groups < module.out_channels == module.in_channels:
            module.__class__ = _WHOLE_GROUPS.get(type(module), type(module))  # of our own copy
    pruner = tp.pruner.function.DepthwiseConvPruner()
    return dependency_graph(network, images, dict.fromkeys(_WHOLE_GROUPS.values(), pruner))
