"""What a network runs for one input: its modules without children, and the functions called between them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

# Functions that a runtime spends time on. Views are free, and what is not named here (indexing, say) is left
# to the correction that whole networks bring.
_FUNCTIONS = """
    add sub mul div pow exp sqrt rsqrt mean sum cat matmul bmm linear conv1d conv2d conv3d
    softmax log_softmax relu relu6 gelu silu sigmoid tanh elu leaky_relu hardswish hardsigmoid
    max_pool2d avg_pool2d adaptive_avg_pool2d interpolate layer_norm group_norm batch_norm
    scaled_dot_product_attention
"""
FUNCTIONS = frozenset(_FUNCTIONS.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One module or function at work.

    Attributes:
        place: place in the network: a module's qualified name, or that of the module whose ``forward`` calls
            the function, the function's name, and its number among those of that name there.
        key: what it does, with all sizes: equal keys take equal time.
        kind: the module's class or the function's name.
        input_shape: shape of its first input, without the batch.
        output_shape: shape of its output, without the batch.
        weight_bytes: bytes of its parameters in float32.
        make: builds a module that does the same.
    """

    place: str
    key: str
    kind: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    weight_bytes: float
    make: Callable[[], nn.Module]


def calls(network: nn.Module, input_shape: tuple[int, ...], device: str) -> list[Call]:
    """Everything a network runs for one input, in order.

    Args:
        network: put in eval mode.
        input_shape: shape of the input, without the batch.
        device: device of the network; ``meta`` where only shapes are asked for.
    """
    watch = _Watch()
    modules = list(network.named_modules())
    for name, module in modules:
        watch.follow(name, module)
    try:
        with torch.no_grad(), watch:
            network.eval()(torch.zeros(1, *input_shape, device=device))
    finally:
        for _, module in modules:
            module.__dict__.pop("forward", None)
    return watch.found


@dataclass(frozen=True, slots=True)
class _Like:
    """What is kept of a tensor that went into a function."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    def constant(self) -> Tensor:
        if self.dtype.is_floating_point:
            return torch.rand(self.shape, dtype=self.dtype)
        return torch.zeros(self.shape, dtype=self.dtype)


class _Function(nn.Module):
    """A call of a function as a module of its first tensor; the other tensors are constants."""

    def __init__(
        self, function: Callable[..., Any], leaves: list[Any], spec: TreeSpec, in_place: bool
    ) -> None:
        super().__init__()
        self._function, self._leaves, self._in_place = function, leaves, in_place
        # As a function, which a copy of the module shares: torch warns of copies of the spec itself.
        self._unflatten = lambda given: tree_unflatten(given, spec)
        places = [index for index, leaf in enumerate(leaves) if isinstance(leaf, _Like)]
        self._first = places[0]
        for index in places[1:]:
            self.register_buffer(f"constant{index}", leaves[index].constant())

    def forward(self, x: Tensor) -> Tensor:
        leaves = [self._buffers.get(f"constant{index}", leaf) for index, leaf in enumerate(self._leaves)]
        if _plain(self._function.__name__) == "cat":  # which does not repeat what is there once, as sums do
            leaves = [
                leaf.expand(x.shape[0], *leaf.shape[1:]) if isinstance(leaf, Tensor) else leaf
                for leaf in leaves
            ]
        leaves[self._first] = x.clone() if self._in_place else x
        arguments, options = self._unflatten(leaves)
        output: Tensor = self._function(*arguments, **options)
        return output


class _Watch(TorchFunctionMode):
    """Notes modules without children as they run, and functions called outside of them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Call] = []
        self._inside: list[str] = []  # names of the modules that are running, outermost first
        self._leaf = False
        self._times: dict[tuple[str, str], int] = {}

    def follow(self, name: str, module: nn.Module) -> None:
        """Notes when a module runs."""
        run = module.forward
        leaf = next(module.children(), None) is None

        def forward(*inputs: Any, **options: Any) -> Any:
            if self._leaf:
                return run(*inputs, **options)
            one = leaf and len(inputs) == 1 and isinstance(inputs[0], Tensor) and not options
            self._inside.append(name)
            self._leaf = one
            try:
                output = run(*inputs, **options)
            finally:
                self._inside.pop()
                self._leaf = False
            if one and isinstance(output, Tensor) and not isinstance(module, nn.Identity | nn.Dropout):
                self._note_module(name, module, inputs[0], output)
            return output

        module.forward = forward

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if not self._leaf and isinstance(output, Tensor):
            name = _plain(getattr(func, "__name__", ""))
            if name in FUNCTIONS:
                self._note_function(name, func, args, kwargs or {}, output)
        return output

    def _note_module(self, name: str, module: nn.Module, given: Tensor, output: Tensor) -> None:
        shape = "x".join(map(str, given.shape[1:]))

        def make() -> nn.Module:
            kept = copy.copy(module)
            kept.__dict__ = {key: value for key, value in module.__dict__.items() if key != "forward"}
            return copy.deepcopy(kept)

        self.found.append(
            Call(
                place=self._place(name, ""),
                key=f"{type(module).__name__}({module.extra_repr()})@{shape}",
                kind=type(module).__name__,
                input_shape=tuple(given.shape[1:]),
                output_shape=tuple(output.shape[1:]),
                weight_bytes=4.0 * sum(parameter.numel() for parameter in module.parameters()),
                make=make,
            )
        )

    def _note_function(
        self, name: str, function: Callable[..., Any], args: Any, kwargs: Any, output: Tensor
    ) -> None:
        leaves, spec = tree_flatten((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        if not tensors or tensors[0].dim() < 2 or tensors[0].shape[0] != 1 or output.shape[:1] != (1,):
            return  # a constant, or something without a batch: not one of the network's inputs at work
        words = [
            "x".join(map(str, leaf.shape)) if isinstance(leaf, Tensor) else repr(leaf) for leaf in leaves
        ]
        kept = [_Like(tuple(t.shape), t.dtype) if isinstance(t, Tensor) else t for t in leaves]
        called = function.__name__
        in_place = called == f"{name}_" or called.startswith("__i")
        self.found.append(
            Call(
                place=self._place(self._inside[-1] if self._inside else "", name),
                key=f"{name}({', '.join(words)})",
                kind=name,
                input_shape=tuple(tensors[0].shape[1:]),
                output_shape=tuple(output.shape[1:]),
                weight_bytes=4.0 * sum(math.prod(t.shape) for t in tensors if isinstance(t, nn.Parameter)),
                make=lambda: _Function(function, kept, spec, in_place),
            )
        )

    def _place(self, module: str, function: str) -> str:
        """A name for each call: the same module may run several times, and call a function several times."""
        times = self._times[module, function] = self._times.get((module, function), -1) + 1
        return f"{module}:{function}#{times}"


def _plain(name: str) -> str:
    """``add`` for ``add_``, ``__add__``, ``__radd__`` and ``__iadd__``."""
    name = name.strip("_")
    for plain in (name, name.removeprefix("r"), name.removeprefix("i")):
        plain = {"truediv": "div"}.get(plain, plain)
        if plain in FUNCTIONS:
            return plain
    return name
