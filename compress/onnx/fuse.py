"""Folding BatchNorms into convolutions, and modules by their own ``fuse()``."""

from __future__ import annotations

import copy
from collections import Counter

from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fuse(network: nn.Module) -> nn.Module:
    """A copy in eval mode that computes the same with fewer modules; the network itself is untouched.

    A module that has a method ``fuse()`` is replaced by what that returns (re-parameterised branches merge
    there). Then every BatchNorm that is fed by one convolution, and by nothing else, is folded into it: its
    place is taken by ``nn.Identity``. Pairs are found on the traced graph, so a convolution whose output is
    also read elsewhere keeps its norm; where a module's ``forward`` cannot be traced its children are
    looked at one by one.
    """
    fused = _own_fusions(copy.deepcopy(network)).eval()
    for conv_name, norm_name in norm_pairs(fused):
        conv, norm = fused.get_submodule(conv_name), fused.get_submodule(norm_name)
        assert isinstance(conv, _ConvNd)
        assert isinstance(norm, _BatchNorm)
        transposed = isinstance(conv, _ConvTransposeNd)
        fused.set_submodule(conv_name, fuse_conv_bn_eval(conv, norm, transpose=transposed))
        fused.set_submodule(norm_name, nn.Identity())
    return fused


def _own_fusions(module: nn.Module) -> nn.Module:
    own = getattr(module, "fuse", None)
    if callable(own):
        replacement = own()
        if not isinstance(replacement, nn.Module):
            raise ValueError(
                f"{type(module).__name__}.fuse() must return the module that takes its place, "
                f"got {type(replacement).__name__}"
            )
        return replacement
    for name, child in list(module.named_children()):
        setattr(module, name, _own_fusions(child))
    return module


def norm_pairs(network: nn.Module, prefix: str = "") -> list[tuple[str, str]]:
    """Qualified names of (convolution, BatchNorm) where the norm can be folded into the convolution."""
    try:
        graph = fx.Tracer().trace(network)
    except Exception:  # a user's forward fails on proxies in whatever way it likes; its children may not
        return [
            pair for name, child in network.named_children() for pair in norm_pairs(child, f"{prefix}{name}.")
        ]
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    pairs = []
    for node in graph.nodes:
        if node.op != "call_module" or not node.args or not isinstance(node.args[0], fx.Node):
            continue
        source = node.args[0]
        if source.op != "call_module" or len(source.users) != 1:
            continue
        if calls[source.target] != 1 or calls[node.target] != 1:
            continue  # one set of weights, two uses: folding for one would break the other
        conv, norm = network.get_submodule(str(source.target)), network.get_submodule(str(node.target))
        if _foldable(conv, norm):
            pairs.append((f"{prefix}{source.target}", f"{prefix}{node.target}"))
    return pairs


def _foldable(conv: nn.Module, norm: nn.Module) -> bool:
    if not isinstance(conv, _ConvNd) or not isinstance(norm, _BatchNorm) or norm.running_mean is None:
        return False
    # The output channels of a grouped transposed convolution are spread over two dimensions of its weight.
    return not isinstance(conv, _ConvTransposeNd) or conv.groups == 1
