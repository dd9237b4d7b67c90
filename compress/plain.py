"""Copies of networks in which every weight is an ordinary parameter."""

from __future__ import annotations

import copy

from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

_COMPUTES_A_WEIGHT = (WeightNorm, SpectralNorm, BasePruningMethod)


def faithful_copy(network: nn.Module) -> nn.Module:
    """A deep copy, of networks too that hold tensors with a history (torch refuses to copy these)."""
    memo: dict[int, object] = {}
    for module in network.modules():
        for value in vars(module).values():
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    return copy.deepcopy(network, memo)


def plain_copy(network: nn.Module) -> nn.Module:
    """A deep copy in which weights that are computed are what they come to: ordinary parameters.

    Those of ``torch.nn.utils.parametrizations`` (weight and spectral norm, one's own) and the older ones that
    a hook computes before each call (weight and spectral norm, pruning masks).
    """
    plain = faithful_copy(network)
    for module in list(plain.modules()):
        if parametrize.is_parametrized(module):
            _materialise(module)
        for key, hook in list(module._forward_pre_hooks.items()):
            if isinstance(hook, _COMPUTES_A_WEIGHT):
                hook.remove(module)
                del module._forward_pre_hooks[key]
    return plain


def _materialise(module: nn.Module) -> None:
    """Not with torch's own function: it changes the class, which the copy and the original share."""
    names = list(module.parametrizations)  # type: ignore[arg-type] # a ModuleDict
    values = {name: getattr(module, name).detach().clone() for name in names}
    module.__class__ = parametrize.type_before_parametrizations(module)
    del module.parametrizations
    for name, value in values.items():
        module.register_parameter(name, nn.Parameter(value))
