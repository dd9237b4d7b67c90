"""Copies of networks in which every weight is an ordinary parameter."""

from __future__ import annotations

import copy
from collections.abc import Iterable

from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import (
    SpectralNorm,
    SpectralNormLoadStateDictPreHook,
    SpectralNormStateDictHook,
)
from torch.nn.utils.weight_norm import WeightNorm

_COMPUTES_A_WEIGHT = (WeightNorm, SpectralNorm, BasePruningMethod)
_OF_ITS_STATE = (SpectralNormStateDictHook, SpectralNormLoadStateDictPreHook)


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
    a hook computes before each call (weight and spectral norm, pruning masks). A weight is frozen in the copy
    where all that it is computed from is.
    """
    plain = faithful_copy(network)
    for module in list(plain.modules()):
        if parametrize.is_parametrized(module):
            _materialise(module)
        for key, hook in list(module._forward_pre_hooks.items()):
            if isinstance(hook, _COMPUTES_A_WEIGHT):
                name = hook._tensor_name if isinstance(hook, BasePruningMethod) else hook.name
                trained = _trained(module._parameters.get(f"{name}{end}") for end in ("_orig", "_g", "_v"))
                hook.remove(module)
                del module._forward_pre_hooks[key]
                getattr(module, name).requires_grad_(trained)
        for hooks in (module._state_dict_hooks, module._load_state_dict_pre_hooks):
            for key, hook in list(hooks.items()):
                if isinstance(getattr(hook, "hook", hook), _OF_ITS_STATE):  # which torch may wrap
                    del hooks[key]
    return plain


def _materialise(module: nn.Module) -> None:
    """Not with torch's own function: it changes the class, which the copy and the original share."""
    values = {
        name: nn.Parameter(
            getattr(module, name).detach().clone(),
            requires_grad=_trained(parametrizations.parameters()),
        )
        for name, parametrizations in module.parametrizations.items()  # type: ignore[union-attr, operator]
    }
    module.__class__ = parametrize.type_before_parametrizations(module)
    del module.parametrizations
    for name, value in values.items():
        module.register_parameter(name, value)


def _trained(sources: Iterable[nn.Parameter | None]) -> bool:
    return any(source is not None and source.requires_grad for source in sources)
