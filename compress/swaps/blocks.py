"""Blocks that a network can do without: what goes in has the shape of what comes out."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils import _pytree as trees

from compress.names import within
from compress.pruning.channels import one_input
from compress.pruning.groups import equal, random_copy
from compress.swaps.factors import LEFT_OUT
from compress.swaps.swap import Swap, swapped


@dataclass(frozen=True, slots=True, kw_only=True)
class Skippable:
    """A module that can be left out.

    Attributes:
        name: Name of the module.
        alike: What blocks share that take the same time: class, input's shape, shapes of parameters.
    """

    name: str
    alike: tuple[Any, ...]


def blocks_of(network: nn.Module, example: Tensor, *, ignore: Collection[str] = ()) -> list[Skippable]:
    """The blocks that can be left out, in the order of the network.

    A block is a module of several layers, a convolution or linear one among them, that is called once, on one
    tensor, and gives one of the same shape. Of blocks in a row each counts, and not the row. Each is left out
    of a copy with random weights, which has to give what the network gives where the block is gone
    around.

    Args:
        network: Any module.
        example: An input, (B, ...).
        ignore: Names of modules, or of those that hold them, that stay.
    """
    shapes = _kept_shapes(network.eval(), one_input(network, example))
    found = [name for name in _outermost(network, "", shapes) if not within(name, ignore)]
    copy, images, tolerance = random_copy(network, example)
    return [
        Skippable(name=name, alike=_alike(network.get_submodule(name), shapes[name]))
        for name in found
        if _is_gone_around(copy, images, tolerance, name)
    ]


def left_outs(names: Collection[str]) -> tuple[Swap, ...]:
    """Exchanges that leave those blocks out."""
    return tuple(Swap(module=name, kind=LEFT_OUT) for name in names)


def without_blocks(network: nn.Module, names: Collection[str]) -> nn.Module:
    """A copy without those blocks."""
    return swapped(network, left_outs(names))


@contextmanager
def gone_around(network: nn.Module, names: Collection[str]) -> Iterator[None]:
    """The network without those blocks, for as long as it lasts."""
    hooks = [
        network.get_submodule(name).register_forward_hook(lambda _module, given, _output: given[0])
        for name in names
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _is_gone_around(network: nn.Module, images: Tensor, tolerance: float, name: str) -> bool:
    """Whether the network without a block computes what it does when the block is gone around."""
    try:
        with torch.no_grad():
            with gone_around(network, [name]):
                masked = _tensors(network(images))
            got = _tensors(without_blocks(network, [name])(images))
    except Exception:  # whatever a forward raises that reads something of the block
        return False
    return len(got) == len(masked) and all(
        one.shape == other.shape and equal(one, other, tolerance)
        for one, other in zip(got, masked, strict=True)
    )


def _tensors(outputs: Any) -> list[Tensor]:
    return [one for one in trees.tree_leaves(outputs) if isinstance(one, Tensor)]


def _kept_shapes(network: nn.Module, given: Tensor) -> dict[str, tuple[int, ...]]:
    """Shape of the input of every module that is called once and keeps the shape of its one tensor."""
    shapes: dict[str, tuple[int, ...]] = {}
    calls: dict[str, int] = {}

    def watch(name: str, module: nn.Module) -> Any:
        def seen(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
            calls[name] = calls.get(name, 0) + 1
            if (
                len(inputs) == 1
                and not named
                and isinstance(inputs[0], Tensor)
                and isinstance(output, Tensor)
                and inputs[0].shape == output.shape
            ):
                shapes[name] = tuple(output.shape[1:])

        return module.register_forward_hook(seen, with_kwargs=True)

    hooks = [watch(name, module) for name, module in network.named_modules() if name]
    try:
        with torch.no_grad():
            network(given)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: shape for name, shape in shapes.items() if calls[name] == 1}


def _outermost(module: nn.Module, prefix: str, shapes: Collection[str]) -> Iterator[str]:
    """Names of the outermost blocks inside a module; of a row of blocks, those in it."""
    for key, child in module.named_children():
        name = f"{prefix}{key}"
        inside = list(_outermost(child, f"{name}.", shapes))
        row = isinstance(child, nn.Sequential | nn.ModuleList) and bool(inside)
        if name in shapes and not row and _is_block(child):
            yield name
        else:
            yield from inside


def _is_block(module: nn.Module) -> bool:
    layers = [one for one in module.modules() if isinstance(one, _ConvNd | nn.Linear)]
    return bool(layers) and next(module.children(), None) is not None


def _alike(module: nn.Module, shape: tuple[int, ...]) -> tuple[Any, ...]:
    sizes = tuple(tuple(parameter.shape) for parameter in module.parameters())
    kinds = tuple(type(one).__name__ for one in module.modules())
    return (kinds, shape, sizes)
