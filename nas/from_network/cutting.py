"""A network of which smaller ones are cut: fewer channels, fewer blocks, smaller kernels.

What stays is the leading part: the first units of every group of channels, the first blocks, the centre of
kernels. So all that are cut are slices of the whole network, and share its weights in a supernet.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from nas.from_network.joined import join
from nas.supernet.cloning import NoTwinError, Skeleton, Templates


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Neighbouring entries of a dimension that go together.

    Attributes:
        group: group of channels that they belong to; empty where they always stay.
        units: how many units of the group they are.
        each: entries of each unit.
    """

    group: str
    units: int
    each: int

    @property
    def length(self) -> int:
        """Entries in the whole network."""
        return self.units * self.each

    def left(self, units: Mapping[str, int]) -> int:
        """Entries that are left where a group has so many units; all where it is not named."""
        return self.each * units.get(self.group, self.units)


Stretches = tuple[Stretch, ...]
Place = tuple[str, str, int]
"""A dimension: a module's name, its tensor's (empty for the channels that a norm is told of), and which."""


def entries(stretches: Stretches, units: Mapping[str, int]) -> int:
    """The length of a dimension where groups have so many units."""
    return sum(one.left(units) for one in stretches)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """A number that a module keeps of its sizes, such as that of its heads.

    Attributes:
        module: name of the module.
        name: name of the attribute.
        group: group that it follows.
        each: what it counts for each unit of the group.
    """

    module: str
    name: str
    group: str
    each: int


class Cuttable:
    """A network with what its dimensions follow.

    Args:
        network: the whole network; it is kept and not changed.
        layout: the stretches of each dimension that follows some group.
        attributes: numbers that modules keep of their sizes.
    """

    def __init__(
        self,
        network: nn.Module,
        layout: Mapping[Place, Stretches],
        attributes: Collection[Attribute] = (),
    ) -> None:
        self.network = network
        self.layout = dict(layout)
        self.attributes = tuple(attributes)

    def __getstate__(self) -> dict[str, Any]:
        """What it was given: modules whose weights are computed cannot be pickled."""
        return {"network": self.network, "layout": self.layout, "attributes": self.attributes}

    @cached_property
    def _template(self) -> nn.Module:
        """The network with every parameter in pieces of which each keeps its leading part."""
        template = copy.deepcopy(self.network)
        for (path, tensor), dims in self._by_tensor.items():
            module = template.get_submodule(path)
            if tensor in module._parameters:
                cuts = {dim: _ends(stretches) for dim, stretches in dims.items()}
                cuts = {dim: ends for dim, ends in cuts.items() if len(ends) > 2}
                if cuts:
                    join(module, tensor, cuts)
        return template

    @cached_property
    def _by_tensor(self) -> dict[tuple[str, str], dict[int, Stretches]]:
        found: dict[tuple[str, str], dict[int, Stretches]] = {}
        for (path, tensor, dim), stretches in sorted(self.layout.items()):
            found.setdefault((path, tensor), {})[dim] = stretches
        return found

    @cached_property
    def _lengths(self) -> dict[str, dict[int, Stretches]]:
        """What each dimension of a parameter of the template is as long as, by the parameter's name."""
        lengths: dict[str, dict[int, Stretches]] = {}
        for (path, tensor), dims in self._by_tensor.items():
            prefix = f"{path}." if path else ""
            names = [(f"{prefix}{tensor}", dims)]
            for dim, stretches in dims.items():
                pieces = _pieces(stretches)
                if len(pieces) > 1:
                    names = [(name, {**own, dim: piece}) for name, own in names for piece in pieces]
            if len(names) > 1:
                stem = f"{prefix}parametrizations.{tensor}.original"
                names = [(f"{stem}{at}", own) for at, (_, own) in enumerate(names)]
            lengths.update(names)
        return lengths

    def cut(
        self,
        units: Mapping[str, int],
        *,
        dropped: Collection[str] = (),
        kernels: Mapping[str, int] | None = None,
    ) -> nn.Module:
        """A smaller network with weights of its own, equal to the leading ones of the whole.

        Args:
            units: units that are left of each group; a group that is not named keeps all.
            dropped: names of modules that go, with all that is in them.
            kernels: side that the kernel of a convolution has, by its name.
        """
        kernels = kernels or {}
        parameters = []
        for name, parameter in self._template.named_parameters():
            value = _leading(parameter.detach(), self._lengths.get(name, {}), units)
            if _owner(name) in kernels and value.dim() > 2:
                value = _centre(value, kernels[_owner(name)])
            clone = value.clone(memory_format=torch.contiguous_format)
            parameters.append(nn.Parameter(clone, requires_grad=parameter.requires_grad))
        network = self._twin(parameters)
        for (path, tensor), dims in self._by_tensor.items():
            module = network.get_submodule(path)
            buffer = module._buffers.get(tensor)
            if buffer is not None:
                module._buffers[tensor] = _kept(buffer, dims, units)
        for name in dropped:
            parent, _, own = name.rpartition(".")
            del network.get_submodule(parent)._modules[own]
        self._tell(network, units, dropped)
        for name, side in kernels.items():
            if not _inside(name, dropped):
                _tell_kernel(network.get_submodule(name), side)
        return network

    def _twin(self, parameters: Sequence[nn.Parameter]) -> nn.Module:
        """A copy of the template with other parameters."""
        if self._skeleton is not None:
            return self._skeleton.make(parameters)
        places = zip(self._template.parameters(), parameters, strict=True)
        return copy.deepcopy(self._template, {id(old): new for old, new in places})

    @cached_property
    def _skeleton(self) -> Skeleton | None:
        """What makes copies fifty times as fast as ``copy.deepcopy``; None where the network has no twins.

        Nor has a network for a supernet that is not float32, or keeps parameters that it does not register.
        """
        try:
            return Skeleton(copy.deepcopy(self._template), Templates(torch.device("cpu")))
        except (NoTwinError, ValueError):
            return None

    def _tell(self, network: nn.Module, units: Mapping[str, int], dropped: Collection[str]) -> None:
        """Sets what modules know of their sizes."""
        told = {path for path, _, _ in self.layout if not _inside(path, dropped)}
        for path in told:
            channels = self.layout.get((path, "", 0))
            _tell_sizes(network.get_submodule(path), None if channels is None else entries(channels, units))
        for one in self.attributes:
            if one.group in units and not _inside(one.module, dropped):
                setattr(network.get_submodule(one.module), one.name, one.each * units[one.group])


def _owner(parameter: str) -> str:
    """The module that a parameter is of, or a piece of one."""
    module, computed, _ = parameter.partition(".parametrizations.")
    return module if computed else parameter.rpartition(".")[0]


def _inside(path: str, dropped: Collection[str]) -> bool:
    return any(path == name or path.startswith(f"{name}.") for name in dropped)


def _pieces(stretches: Stretches) -> list[Stretches]:
    """The stretches in runs that each keep a leading part: all but the last of a run always stay whole."""
    pieces: list[list[Stretch]] = [[]]
    for one in stretches:
        pieces[-1].append(one)
        if one.group:
            pieces.append([])
    return [tuple(piece) for piece in pieces if piece]


def _ends(stretches: Stretches) -> tuple[int, ...]:
    sizes = [sum(one.length for one in piece) for piece in _pieces(stretches)]
    return (0, *accumulate(sizes))


def _leading(tensor: Tensor, dims: Mapping[int, Stretches], units: Mapping[str, int]) -> Tensor:
    for dim, stretches in dims.items():
        tensor = tensor.narrow(dim, 0, entries(stretches, units))
    return tensor


def _kept(tensor: Tensor, dims: Mapping[int, Stretches], units: Mapping[str, int]) -> Tensor:
    """The leading part of every stretch."""
    for dim, stretches in dims.items():
        starts = accumulate((one.length for one in stretches), initial=0)
        parts = [
            tensor.narrow(dim, start, one.left(units)) for start, one in zip(starts, stretches, strict=False)
        ]
        tensor = torch.cat(parts, dim)
    return tensor.clone()


def _centre(weight: Tensor, side: int) -> Tensor:
    for dim in range(2, weight.dim()):
        weight = weight.narrow(dim, (weight.shape[dim] - side) // 2, side)
    return weight


def _tell_kernel(conv: nn.Module, side: int) -> None:
    assert isinstance(conv, _ConvNd)
    if not isinstance(conv.padding, str):
        conv.padding = tuple(
            padding - (old - side) // 2 * dilation
            for padding, old, dilation in zip(conv.padding, conv.kernel_size, conv.dilation, strict=True)
        )
    conv.kernel_size = tuple(side for _ in conv.kernel_size)


def _tell_sizes(module: nn.Module, channels: int | None) -> None:
    """Sets the sizes that a module of PyTorch's keeps, from its weights or the channels it has."""
    if isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, _ConvNd):
        transposed = isinstance(module, _ConvTransposeNd)
        first, second = module.weight.shape[:2]
        whole = module.in_channels if transposed else module.out_channels  # of which the first dimension is
        groups = 1 if module.groups == 1 else module.groups * first // whole
        sizes = (first, second * groups) if transposed else (second * groups, first)
        module.in_channels, module.out_channels, module.groups = *sizes, groups
    elif isinstance(module, nn.Embedding):
        module.embedding_dim = module.weight.shape[1]
    elif isinstance(module, nn.PReLU):
        module.num_parameters = module.weight.shape[0]
    elif channels is None:
        return
    elif isinstance(module, _NormBase):
        module.num_features = channels
    elif isinstance(module, nn.LayerNorm | nn.RMSNorm):
        module.normalized_shape = (channels,)
    elif isinstance(module, nn.GroupNorm):
        size = module.num_channels // module.num_groups
        module.num_channels, module.num_groups = channels, channels // size
