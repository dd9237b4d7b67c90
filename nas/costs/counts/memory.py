"""Peak activation memory by liveness: which tensors have to exist at once while a network runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

# These give another view of their input's memory, not memory of their own.
_VIEW_FUNCTIONS: tuple[Callable[..., Any], ...] = (
    torch.flatten,
    torch.transpose,
    torch.permute,
    torch.squeeze,
)
_VIEW_METHODS = (
    "reshape",
    "view",
    "flatten",
    "transpose",
    "permute",
    "squeeze",
    "unsqueeze",
    "expand",
    "chunk",
)
_VIEW_MODULES = (nn.Identity, nn.Flatten, nn.Dropout)
_FOLDED_MODULES = (nn.BatchNorm1d, nn.BatchNorm2d, nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Hardswish)


def peak_activation_bytes(module: nn.Module, input_shape: tuple[int, ...]) -> int:
    """The most bytes of activations alive at once for one float32 input of that shape (without the batch).

    A tensor lives from the operation that makes it to the last that reads it; the input counts. Norms and
    activations are taken as folded into what they follow, as deployment does, and views as free. A module
    whose ``forward`` cannot be traced counts as one operation: its input and output.
    """
    example = torch.zeros(1, *input_shape)
    try:
        traced = fx.symbolic_trace(module)
    except Exception:  # a user's forward fails on proxies in whatever way it likes
        with torch.no_grad():
            return _bytes(example) + _bytes(module(example))
    with torch.no_grad():
        ShapeProp(traced).propagate(example)
    return _peak(traced)


def _peak(traced: fx.GraphModule) -> int:
    nodes = [node for node in traced.graph.nodes if node.op != "get_attr"]
    owner: dict[fx.Node, fx.Node] = {}
    last_use: dict[fx.Node, int] = {}
    for position, node in enumerate(nodes):
        sources = [source for source in node.all_input_nodes if source in owner]
        owner[node] = owner[sources[0]] if sources and _shares_memory(traced, node) else node
        for source in sources:
            last_use[owner[source]] = position
        last_use.setdefault(owner[node], position)
    born: dict[int, list[fx.Node]] = {}
    for position, node in enumerate(nodes):
        if owner[node] is node and node.op != "output":
            born.setdefault(position, []).append(node)
    alive = peak = 0
    sizes = {node: _node_bytes(node) for node in last_use}
    for position, _node in enumerate(nodes):
        alive += sum(sizes[node] for node in born.get(position, []))
        peak = max(peak, alive)
        alive -= sum(sizes[node] for node, last in last_use.items() if last == position)
    return peak


def _shares_memory(traced: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        module = traced.get_submodule(str(node.target))
        return isinstance(module, (*_VIEW_MODULES, *_FOLDED_MODULES))
    if node.op == "call_method":
        return node.target in _VIEW_METHODS
    return node.op == "output" or (node.op == "call_function" and node.target in _VIEW_FUNCTIONS)


def _node_bytes(node: fx.Node) -> int:
    if node.op == "output":
        return 0
    found = node.meta.get("tensor_meta")
    if found is None or not hasattr(found, "shape"):
        return 0
    return 4 * int(torch.Size(found.shape).numel())


def _bytes(value: Tensor) -> int:
    return 4 * value.numel()
