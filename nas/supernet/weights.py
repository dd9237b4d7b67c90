"""The shared weights: one flat tensor a group, and an index from names to places in it.

Two archs share a parameter when its qualified name is the same; the smaller shape is a slice of the larger:
the leading entries of channel dimensions, the centre of kernel dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.spectral_norm import SpectralNorm

GROUPS = ("decay", "plain")
_ALIGN = 16  # floats; every parameter starts on a cache line


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """The place of one parameter of the supernet.

    Attributes:
        name: qualified name in the network.
        shape: the largest shape it takes in any arch.
        centred: dimensions that are cropped around their centre (kernels); the others keep their start.
        owner: what kind of module it belongs to; it must be the same in every arch.
        group: ``decay`` for matrices and kernels, ``plain`` for biases, norms and scales.
        offset: index of its first element in the group's flat tensor.
        trainable: whether it takes gradients.
    """

    name: str
    shape: tuple[int, ...]
    centred: tuple[int, ...]
    owner: str
    group: str
    offset: int
    trainable: bool

    @property
    def strides(self) -> tuple[int, ...]:
        """The strides of the largest shape, laid out row by row."""
        return tuple(math.prod(self.shape[dim + 1 :]) for dim in range(len(self.shape)))

    def view(self, flat: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The slice of this parameter that a network with the smaller ``shape`` uses, without a copy.

        Raises:
            ValueError: the shape is no slice of the largest one.
        """
        if shape == self.shape:
            return flat.narrow(0, self.offset, math.prod(shape)).view(shape)
        problem = self.misfit(shape)
        if problem:
            raise ValueError(f"parameter {self.name!r}: {problem}")
        strides = self.strides
        start = self.offset + sum((self.shape[d] - shape[d]) // 2 * strides[d] for d in self.centred)
        return flat.as_strided(shape, strides, start)

    def misfit(self, shape: tuple[int, ...]) -> str:
        """Why a shape is no slice of this parameter; empty when it is one."""
        if len(shape) != len(self.shape):
            return f"shape {shape} has another number of dimensions than {self.shape}"
        if any(small > large for small, large in zip(shape, self.shape, strict=True)):
            return f"shape {shape} does not fit into {self.shape}"
        if any((self.shape[d] - shape[d]) % 2 for d in self.centred):
            return f"kernel {shape} has no centred place in {self.shape}: sizes must be all odd or all even"
        return ""


@dataclass(slots=True)  # frozen ones take three times as long to make, and networks have hundreds
class Parameter:
    """One parameter of one built network, as the index sees it."""

    name: str
    shape: tuple[int, ...]
    centred: tuple[int, ...]
    owner: str
    trainable: bool


def parameters_of(modules: Mapping[str, nn.Module]) -> Iterator[Parameter]:
    """Every parameter of a network's modules, by their paths, once; tied ones under their first name.

    Raises:
        ValueError: a parameter that cannot be a slice of the shared weights, or a module whose buffers are
            computed from its weights.
    """
    seen: set[int] = set()
    for path, owner in modules.items():
        if isinstance(owner, _REFUSED) or owner._forward_pre_hooks:
            _check_module(path, owner)
        if not owner._parameters:
            continue
        kind = _kind(owner)
        for name, parameter in owner._parameters.items():
            if parameter is None or id(parameter) in seen:
                continue
            seen.add(id(parameter))
            if parameter.dtype is not torch.float32 or type(parameter) is not nn.Parameter:
                _check_parameter(f"{path}.{name}" if path else name, kind, parameter)
            yield Parameter(
                name=f"{path}.{name}" if path else name,
                shape=tuple(parameter.shape),
                centred=_centred(owner, name),
                owner=kind,
                trainable=parameter.requires_grad,
            )


_REFUSED = (_SpectralNorm, torch.jit.ScriptModule)


def _check_module(path: str, owner: nn.Module) -> None:
    if isinstance(owner, torch.jit.ScriptModule):
        raise ValueError(f"module {path!r} is scripted and cannot take shared weights; build it unscripted")
    old = any(isinstance(hook, SpectralNorm) for hook in owner._forward_pre_hooks.values())
    if old or isinstance(owner, _SpectralNorm):
        raise ValueError(
            f"module {path.partition('.parametrizations')[0]!r} has spectral_norm, which computes vectors "
            f"from the weights when a network is built, before a subnet has its weights; weight_norm can be "
            f"shared"
        )


def _check_parameter(name: str, kind: str, parameter: Tensor) -> None:
    if is_lazy(parameter):
        raise ValueError(
            f"parameter {name!r} of a {kind} has no shape before the first image; give it its sizes"
        )
    if parameter.dtype is not torch.float32:
        dtype = str(parameter.dtype).removeprefix("torch.")
        raise ValueError(
            f"parameter {name!r} of a {kind} is {dtype}, and the shared weights are float32: build the "
            f"network in float32 (train.precision is of the computing), and register what is no weight as a "
            f"buffer"
        )


def _centred(owner: nn.Module, name: str) -> tuple[int, ...]:
    """Kernel dimensions; a module with another rule declares ``centre_dims = {"name": (dim, ...)}``."""
    declared: Mapping[str, tuple[int, ...]] | None = owner.__dict__.get("centre_dims") or getattr(
        type(owner), "centre_dims", None
    )  # asking the module for what it lacks is slow
    if declared and name in declared:
        return tuple(declared[name])
    if isinstance(owner, _ConvNd) and name == "weight":
        return tuple(range(2, 2 + len(owner.kernel_size)))
    return ()


def _kind(owner: nn.Module) -> str:
    """The module's class, and for convolutions whether they are dense, depthwise or grouped."""
    kind = type(owner).__name__
    if isinstance(owner, _ConvNd):
        if owner.groups == 1:
            # A convolution from one channel is dense and depthwise at once; it may share with either.
            return f"{kind} (dense)" if owner.in_channels > 1 else f"{kind} (any)"
        depthwise = owner.groups == owner.in_channels
        return (
            f"{kind} (depthwise)" if depthwise else f"{kind} (groups of {owner.in_channels // owner.groups})"
        )
    return kind


def own_name(name: str, shape: Sequence[int]) -> str:
    """The name of a norm's parameter that only networks of this width have at this place."""
    return f"{name}[{'x'.join(map(str, shape))}]"


def is_norm(owner: str) -> bool:
    """Whether a kind of module scales and shifts channels."""
    return owner in _NORMS


_NORMS = frozenset(
    kind.__name__
    for kind in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.LayerNorm, nn.GroupNorm)
)


def entry_of(index: Mapping[str, Entry], name: str, shape: tuple[int, ...]) -> Entry | None:
    """The entry of a network's parameter: shared by all widths, or of its width alone; None without one."""
    return index.get(name) or index.get(own_name(name, shape))


def same_kind(first: str, second: str) -> bool:
    """Whether two owners may share a parameter."""
    if first == second:
        return True
    wild = (first, second)
    return any(kind.endswith(" (any)") for kind in wild) and first.split(" (")[0] == second.split(" (")[0]


def group_of(shape: Sequence[int]) -> str:
    """The group of a parameter: ``decay`` for matrices and kernels, ``plain`` for vectors.

    Args:
        shape: the largest it takes.
    """
    return GROUPS[0] if sum(size > 1 for size in shape) > 1 else GROUPS[1]


def lay_out(found: Iterable[Parameter]) -> dict[str, Entry]:
    """Places for parameters whose largest shapes are known, by name, in the order given."""
    used = dict.fromkeys(GROUPS, 0)
    index = {}
    for parameter in found:
        group = group_of(parameter.shape)
        index[parameter.name] = Entry(
            name=parameter.name,
            shape=parameter.shape,
            centred=parameter.centred,
            owner=parameter.owner,
            group=group,
            offset=used[group],
            trainable=parameter.trainable,
        )
        size = math.prod(parameter.shape)
        used[group] += -(-size // _ALIGN) * _ALIGN
    return index


def allocate(index: Mapping[str, Entry], device: torch.device) -> dict[str, Tensor]:
    """A zeroed flat float32 tensor for each group, with room for every entry."""
    sizes = dict.fromkeys(GROUPS, 0)
    for entry in index.values():
        end = entry.offset + -(-math.prod(entry.shape) // _ALIGN) * _ALIGN
        sizes[entry.group] = max(sizes[entry.group], end)
    return {group: torch.zeros(size, device=device) for group, size in sizes.items()}
