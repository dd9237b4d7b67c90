"""The layers of a user's own model, whose space only builds: found by running it, remembered by arch.

A layer is a module without children that takes one tensor; what a ``forward`` does between modules
belongs to none of them, and is left to the correction fitted on whole networks.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nas.costs.layer_sums import Floats
from nas.costs.probes import Probe, network_key
from nas.skeleton import without_initialisers
from search_spaces.space import Rows, SearchSpace


class TracedSums:
    """What a latency model needs to know of a space that only builds.

    Args:
        space: with ``build``.
        rows: archs to learn the layers from; predicting an arch with a layer that none of these has is an
            error that says so.
    """

    def __init__(self, space: SearchSpace, rows: Rows) -> None:
        self._space = space
        self._ids: dict[str, int] = {}
        self._kinds: list[str] = []
        self._weight_bytes: list[float] = []
        self._activation_bytes: list[float] = []
        self._probes: list[Probe] = []
        self._counts: dict[str, dict[int, int]] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._learning = True
        for row in space.canonical(rows):
            self._layers_of(row)
        self._learning = False

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self._ids)

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(self._kinds)

    @property
    def weight_bytes(self) -> Floats:
        return np.array(self._weight_bytes)

    @property
    def activation_bytes(self) -> Floats:
        return np.array(self._activation_bytes)

    @property
    def probes(self) -> list[Probe]:
        """The distinct layers, ready to be measured."""
        return list(self._probes)

    def sum(self, rows: Rows, per_layer: Floats) -> Floats:
        """Sum of a per-layer quantity over the layers of each arch, (n,).

        Raises:
            ValueError: an arch has a layer that was never seen.
        """
        totals = np.empty(len(rows))
        for index, row in enumerate(self._space.canonical(rows)):
            found = self._layers_of(row)
            ids = np.fromiter(found.keys(), dtype=np.int64, count=len(found))
            totals[index] = per_layer[ids] @ np.fromiter(found.values(), dtype=float, count=len(found))
        return totals

    def _layers_of(self, row: Rows) -> dict[int, int]:
        """How often each layer occurs in an arch."""
        key = network_key(row)
        if key not in self._counts:
            arch = self._space.to_arch(row)
            shape = self._space.input_shape(arch)
            try:  # shapes are all that is asked for, so nothing is allocated where the model allows it
                with without_initialisers(torch.device("meta")):
                    occurrences = _occurrences(self._space.build(arch), shape, "meta", self._shapes)
            except (RuntimeError, NotImplementedError):
                occurrences = _occurrences(self._space.build(arch), shape, "cpu", self._shapes)
            if self._learning and any(name not in self._ids for name, _, _ in occurrences):
                self._learn(_occurrences(self._space.build(arch), shape, "cpu", self._shapes))
            self._counts[key] = self._count(name for name, _, _ in occurrences)
        return self._counts[key]

    def _count(self, names: Iterable[str]) -> dict[int, int]:
        counts: dict[int, int] = {}
        for name in names:
            if name not in self._ids:
                raise ValueError(
                    f"layer {name} of space {self._space.name!r} has never been seen; profile the space "
                    "again with more networks to learn its layers from"
                )
            counts[self._ids[name]] = counts.get(self._ids[name], 0) + 1
        return counts

    def _learn(self, occurrences: Iterable[tuple[str, nn.Module, tuple[int, ...]]]) -> None:
        for name, module, shape in occurrences:
            if name in self._ids:
                continue
            self._ids[name] = len(self._ids)
            self._kinds.append(type(module).__name__)
            self._weight_bytes.append(4.0 * sum(parameter.numel() for parameter in module.parameters()))
            self._activation_bytes.append(4.0 * (math.prod(shape) + math.prod(self._shapes.get(name, shape))))
            make = _copier(module)
            self._probes.append(Probe(kind="layer", key=name, input_shape=shape, make=make))


def _copier(module: nn.Module) -> Callable[[], nn.Module]:
    kept = copy.deepcopy(module)
    return lambda: copy.deepcopy(kept)


def _occurrences(
    network: nn.Module, input_shape: tuple[int, ...], device: str, shapes: dict[str, tuple[int, ...]]
) -> list[tuple[str, nn.Module, tuple[int, ...]]]:
    """Key, module and input shape (without the batch) of each layer, in the order they run.

    ``shapes`` remembers the output shape of each key. Where only shapes are asked for (``meta``), a known
    layer is not run again.
    """
    found: list[tuple[str, nn.Module, tuple[int, ...]]] = []

    def watch(leaf: nn.Module) -> None:
        run = leaf.forward

        def forward(*inputs: Any) -> Any:
            if len(inputs) != 1 or not isinstance(inputs[0], Tensor):
                return run(*inputs)
            shape = tuple(inputs[0].shape)
            key = f"{type(leaf).__name__}({leaf.extra_repr()})@{'x'.join(map(str, shape[1:]))}"
            found.append((key, leaf, shape[1:]))
            if device == "meta" and key in shapes:
                return torch.empty((shape[0], *shapes[key]), device="meta")
            output = run(*inputs)
            if isinstance(output, Tensor) and output.shape[0] == shape[0]:
                shapes[key] = tuple(output.shape[1:])
            return output

        leaf.forward = forward

    leaves = [
        module
        for module in network.modules()
        if not isinstance(module, nn.Identity) and next(module.children(), None) is None
    ]
    for leaf in leaves:
        watch(leaf)
    with torch.no_grad():
        network.eval()(torch.zeros(1, *input_shape, device=device))
    for leaf in leaves:
        del leaf.forward
    return found
