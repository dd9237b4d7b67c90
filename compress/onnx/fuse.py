"""Folding BatchNorms into convolutions, and modules by their own ``folded()``."""

from __future__ import annotations

import inspect
from collections import Counter

import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils.fusion import fuse_conv_bn_eval

from compress.plain import plain_copy
from compress.swaps.kinds import ScaleShift

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def fuse(network: nn.Module) -> nn.Module:
    """A copy in eval mode that computes the same with fewer modules; the network itself is untouched.

    A module whose class has a method ``folded()`` without arguments is replaced by the module which that
    returns (re-parameterised branches merge there). Weights that are computed, such as those of weight
    norm, become ordinary ones. Then every BatchNorm that is fed by one convolution, and by nothing else, is
    folded into it: its place is taken by ``nn.Identity``. So is that of a factor and a summand for each
    channel which only linear layers read, into these.

    Raises:
        ValueError: a ``folded()`` returned no module.
    """
    fused = _own_foldings(plain_copy(network).eval())
    for conv_name, norm_name in norm_pairs(fused):
        conv, norm = fused.get_submodule(conv_name), fused.get_submodule(norm_name)
        assert isinstance(conv, _ConvNd)
        assert isinstance(norm, _BatchNorm)
        transposed = isinstance(conv, _ConvTransposeNd)
        fused.set_submodule(conv_name, fuse_conv_bn_eval(conv, norm, transpose=transposed))
        fused.set_submodule(norm_name, nn.Identity())
    for name, readers in scales_of_linears(fused).items():
        for linear in (fused.get_submodule(reader) for reader in readers):
            assert isinstance(linear, nn.Linear)
            _fold_forward(fused.get_submodule(name), linear)
        fused.set_submodule(name, nn.Identity())
    return fused


def rescaled_linears(network: nn.Module) -> set[str]:
    """Names of the linear layers into which ``fuse`` folds a factor for each input channel."""
    readers = scales_of_linears(_own_foldings(plain_copy(network).eval())).values()
    return {name for names in readers for name in names}


@torch.no_grad()
def _fold_forward(scale: nn.Module, linear: nn.Linear) -> None:
    """W (f x + s) + b is (W f) x + (b + W s)."""
    assert isinstance(scale, ScaleShift)
    moved = linear.weight @ scale.summand
    linear.bias = nn.Parameter(moved if linear.bias is None else linear.bias + moved)
    linear.weight.mul_(scale.factor)


def _own_foldings(module: nn.Module) -> nn.Module:
    own = inspect.getattr_static(type(module), "folded", None)
    if inspect.isfunction(own) and len(inspect.signature(own).parameters) == 1:
        replacement = own(module)
        if not isinstance(replacement, nn.Module):
            raise ValueError(
                f"{type(module).__name__}.folded() must return the module that takes its place, "
                f"got {type(replacement).__name__}"
            )
        return replacement.eval()
    for name, child in list(module.named_children()):
        module.set_submodule(name, _own_foldings(child))
    return module


class _Tracer(fx.Tracer):
    """Sees every read of a parameter or buffer in a ``forward``."""

    proxy_buffer_attributes = True

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """A factor and a summand for each channel are folded as one."""
        return isinstance(m, ScaleShift) or super().is_leaf_module(m, module_qualified_name)


def norm_pairs(network: nn.Module) -> list[tuple[str, str]]:
    """Qualified names of (convolution, BatchNorm) where the norm can be folded into the convolution.

    What the traced graph proves: they are called together alone (several times in a recursive block), the
    norm alone reads the convolution's outputs, and nothing but their own calls reads their weights and
    statistics. Hooks, shared weights, and a ``forward`` that cannot be traced rule a pair out.
    """
    try:
        graph = _Tracer().trace(network)
    except Exception:  # a user's forward fails on proxies in whatever way it likes
        return []
    calls = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    read = {str(node.target).rpartition(".")[0] for node in graph.nodes if node.op == "get_attr"}
    holders = Counter(id(tensor) for _, tensor in network.named_parameters(remove_duplicate=False))
    together: Counter[tuple[str, str]] = Counter()
    for node in graph.nodes:
        if node.op != "call_module" or not node.args or not isinstance(node.args[0], fx.Node):
            continue
        source = node.args[0]
        if source.op == "call_module" and len(source.users) == 1:
            together[str(source.target), str(node.target)] += 1
    pairs = []
    for names, times in together.items():
        conv, norm = (network.get_submodule(name) for name in names)
        if not _foldable(conv, norm) or any(calls[name] != times or name in read for name in names):
            continue
        if all(holders[id(tensor)] == 1 for module in (conv, norm) for tensor in module.parameters()):
            pairs.append(names)
    return pairs


def scales_of_linears(network: nn.Module) -> dict[str, list[str]]:
    """Names of the ``ScaleShift`` modules that linear layers alone read, with the names of these.

    What the traced graph proves, as with norms: each is called once, and nothing else reads its tensors.
    """
    if not any(isinstance(one, ScaleShift) for one in network.modules()):
        return {}
    try:
        graph = _Tracer().trace(network)
    except Exception:  # a user's forward fails on proxies in whatever way it likes
        return {}
    calls = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    read = {str(node.target).rpartition(".")[0] for node in graph.nodes if node.op == "get_attr"}
    holders = Counter(id(tensor) for _, tensor in network.named_parameters(remove_duplicate=False))
    found = {}
    for node in graph.nodes:
        if node.op != "call_module" or not isinstance(network.get_submodule(str(node.target)), ScaleShift):
            continue
        names = [str(node.target), *(str(user.target) for user in node.users)]
        modules = [
            network.get_submodule(name)
            for name, user in zip(names, [node, *node.users], strict=True)
            if user.op == "call_module"
        ]
        linear = len(modules) == len(names) > 1 and all(type(one) is nn.Linear for one in modules[1:])
        alone = all(calls[name] == 1 and name not in read for name in names)
        if linear and alone and all(holders[id(one)] == 1 for part in modules for one in part.parameters()):
            found[names[0]] = names[1:]
    return found


def _foldable(conv: nn.Module, norm: nn.Module) -> bool:
    if type(conv) not in _CONVOLUTIONS or type(norm) not in _NORMS:
        return False
    if not isinstance(getattr(norm, "running_mean", None), torch.Tensor):
        return False
    for module in (conv, norm):
        own = getattr(module.forward, "__func__", None) is type(module).forward
        if not own or module._forward_hooks or module._forward_pre_hooks:
            return False
    # The output channels of a grouped transposed convolution are spread over two dimensions of its weight.
    return not isinstance(conv, _ConvTransposeNd) or conv.groups == 1
