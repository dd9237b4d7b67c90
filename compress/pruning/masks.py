"""Masking: what a network computes without some channels, at its whole size.

The reference that a cut has to equal. Weights of masked channels are zero; norms over channels are the exact
ones over the channels that are left, made from the formula of the norm and not by cutting it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.utils.hooks import RemovableHandle

Part = tuple[Any, list[int]]
"""A dependency of torch-pruning and the indices of what goes there."""

# A PReLU gives zero for zero.
_MASKED = (nn.Parameter, _ConvNd, nn.Linear, nn.Embedding, _BatchNorm, _InstanceNorm, nn.GroupNorm, nn.PReLU)
_FUNCTIONS = tp.ops._ReshapeOp.__module__  # torch-pruning's stand-ins for functions


def unmaskable(parts: Iterable[Part], names: dict[nn.Module, str]) -> str:
    """What among the parts has no exact mask, in words; nothing if all have one."""
    for dependency, _ in parts:
        module = dependency.target.module
        if isinstance(module, _MASKED):
            continue
        if isinstance(module, nn.LayerNorm):
            if len(module.normalized_shape) == 1:
                continue
        elif type(module).__module__ == _FUNCTIONS or next(module.parameters(), None) is None:
            continue
        return (
            f"they run through {names.get(module) or dependency.target.name} ({type(module).__name__}), "
            "for which a cut cannot be compared with a mask"
        )
    return ""


@contextmanager
def masked(parts: Sequence[Part]) -> Iterator[None]:
    """A network without those channels, for as long as it lasts."""
    parameters = {one for dependency, _ in parts for one in _parameters(dependency.target.module)}
    before = {parameter: parameter.detach().clone() for parameter in parameters}
    hooks = mask(parts)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        with torch.no_grad():
            for parameter, values in before.items():
                parameter.copy_(values)


def without(group: Any, channels: Collection[int]) -> AbstractContextManager[None]:
    """A network without those channels of a torch-pruning group, for as long as it lasts.

    What torch-pruning lost track of on the way is not masked; what makes the channels is.
    """
    gone = set(channels)
    parts = ((one.dep, one.idxs, one.root_idxs) for one in group)
    left_out = (
        (dep, [i for i, root in zip(idxs, roots, strict=True) if root in gone]) for dep, idxs, roots in parts
    )
    return masked([part for part in left_out if part[1]])


def _parameters(module: Any) -> list[nn.Parameter]:
    return [module] if isinstance(module, nn.Parameter) else list(module.parameters(recurse=False))


@torch.no_grad()
def mask(parts: Iterable[Part]) -> list[RemovableHandle]:
    """Takes those channels out of what the network computes, in place.

    Args:
        parts: parts of torch-pruning's groups.

    Returns:
        The hooks that compute norms over the channels that are left.
    """
    dropped: defaultdict[nn.LayerNorm | nn.GroupNorm, set[int]] = defaultdict(set)
    for dependency, indices in parts:
        module = dependency.target.module
        if isinstance(module, nn.LayerNorm | nn.GroupNorm):
            dropped[module].update(indices)
        else:
            _zero(dependency, indices)
    return [module.register_forward_hook(_NormOfRest(module, indices)) for module, indices in dropped.items()]


def _zero(dependency: Any, places: list[int]) -> None:
    module = dependency.target.module
    parameter = module if isinstance(module, nn.Parameter) else next(module.parameters(), None)
    if parameter is None:
        return
    indices = torch.as_tensor(places, device=parameter.device)
    if isinstance(module, nn.Parameter):
        module.index_fill_(dependency.target.pruning_dim, indices, 0)
    elif isinstance(module, nn.Embedding):
        module.weight.index_fill_(1, indices, 0)
    elif isinstance(module, _ConvNd | nn.Linear):
        incoming = dependency.handler.__name__ == "prune_in_channels"
        if incoming and isinstance(module, _ConvNd) and module.groups > 1:
            return  # what comes in is zero already, and the slices do not line up
        dimension = int(incoming) ^ int(isinstance(module, _ConvTransposeNd))
        if module.weight.shape[dimension] == 1 and isinstance(module, _ConvTransposeNd):
            dimension = 0  # depthwise: a channel in is a channel out
        module.weight.index_fill_(dimension, indices, 0)
        if module.bias is not None and not incoming:
            module.bias.index_fill_(0, indices, 0)
    elif isinstance(module, _BatchNorm | _InstanceNorm) and module.affine:
        module.weight.index_fill_(0, indices, 0)
        module.bias.index_fill_(0, indices, 0)


class _NormOfRest:
    """A LayerNorm or GroupNorm over the channels that are left, zero in the others.

    (x - mean) / sqrt(var + eps) * weight + bias, with mean and variance over the kept channels: all of them,
    or those of each of the norm's groups, which stay the groups that they were.
    """

    def __init__(self, norm: nn.LayerNorm | nn.GroupNorm, dropped: set[int]) -> None:
        if isinstance(norm, nn.LayerNorm):
            first = getattr(norm, "data_format", "") == "channels_first"  # ConvNeXt's, of maps (B, C, H, W)
            self._dimension, channels, size = (1 if first else -1), *(norm.normalized_shape * 2)
        else:
            self._dimension, channels, size = 1, norm.num_channels, norm.num_channels // norm.num_groups
        self._of_each_place = isinstance(norm, nn.LayerNorm)
        self._groups = [
            [index for index in range(start, start + size) if index not in dropped]
            for start in range(0, channels, size)
        ]

    def __call__(self, norm: Any, given: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """The norm's output in place of the one over all channels."""
        whole = given[0]
        result = torch.zeros_like(output)
        for kept in self._groups:
            if not kept:
                continue
            part = whole.index_select(self._dimension, torch.tensor(kept))
            over = (self._dimension,) if self._of_each_place else tuple(range(1, part.ndim))
            variance, mean = torch.var_mean(part, dim=over, correction=0, keepdim=True)
            part = (part - mean) / (variance + norm.eps).sqrt()
            shape = [1] * part.ndim
            shape[self._dimension] = len(kept)
            if norm.weight is not None:
                part = part * norm.weight[kept].reshape(shape)
            if norm.bias is not None:
                part = part + norm.bias[kept].reshape(shape)
            result.index_copy_(self._dimension, torch.tensor(kept), part)
        return result
