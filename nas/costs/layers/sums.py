"""The layers of a space as cost models read them: keys, kinds, weights, and sums over the layers of archs."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from nas.costs.layers.probes import Make, Probe, layer_probes
from nas.costs.layers.traced import TracedSums
from nas.supernet.building import without_initialisers
from search_spaces.layer import Layer
from search_spaces.space import Rows, SearchSpace

Floats = NDArray[np.float64]


class LayerSums(Protocol):
    """What cost models need to know of a space."""

    @property
    def exact(self) -> bool:
        """Whether the space lists its layers, so that a network is the sum of its layers by construction."""
        ...

    @property
    def modules(self) -> list[tuple[Make, tuple[int, ...]]]:
        """What makes each distinct layer, and the shape of its input without the batch."""
        ...

    @property
    def probes(self) -> list[Probe]:
        """The distinct layers, ready to be measured."""
        ...

    @property
    def keys(self) -> tuple[str, ...]:
        """Every distinct layer's key."""
        ...

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kind of each."""
        ...

    @property
    def weight_bytes(self) -> Floats:
        """The weights of each: four bytes a number, one in a layer that is int8."""
        ...

    @property
    def activation_bytes(self) -> Floats:
        """The inputs and outputs of each, for one input, likewise."""
        ...

    def sum(self, rows: Rows, per_layer: Floats) -> Floats:
        """Sum of a per-layer quantity over the layers of each arch, (n,)."""
        ...

    def params(self, rows: Rows) -> Floats:
        """Number of parameters of each arch, (n,)."""
        ...

    @property
    def lasting_kinds(self) -> tuple[str, ...]:
        """Kinds whose layers may change how later layers of the same shape run."""
        ...

    def sum_after(self, rows: Rows, per_layer: Floats, kind: str) -> Floats:
        """Like ``sum``, of those layers alone that a layer of ``kind`` comes before at their shape, (n,)."""
        ...

    def borders(self, rows: Rows) -> Floats:
        """How often float meets int8 in each arch, and how many numbers are converted there, (n, 2)."""
        ...


class SlotSums:
    """The sums of a space of slots, which are table look-ups over whole populations."""

    exact = True

    def __init__(self, space: SearchSpace) -> None:
        self._space = space

    @property
    def modules(self) -> list[tuple[Make, tuple[int, ...]]]:
        return [(layer.build, layer.input_shape) for layer in self._space.layers]

    @property
    def probes(self) -> list[Probe]:
        return layer_probes(self._space)

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(layer.key for layer in self._space.layers)

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(_kind(layer) for layer in self._space.layers)

    @cached_property
    def _params(self) -> Floats:
        with without_initialisers(torch.device("cpu")):
            modules = [layer.build() for layer in self._space.layers]
        return np.array([float(sum(one.numel() for one in module.parameters())) for module in modules])

    @cached_property
    def _number_bytes(self) -> Floats:
        return np.array([1.0 if layer.precision == "int8" else 4.0 for layer in self._space.layers])

    @property
    def weight_bytes(self) -> Floats:
        return self._number_bytes * self._params

    @property
    def activation_bytes(self) -> Floats:
        shapes = [(layer.input_shape, layer.output_shape) for layer in self._space.layers]
        return self._number_bytes * np.array([np.prod(given) + np.prod(output) for given, output in shapes])

    def sum(self, rows: Rows, per_layer: Floats) -> Floats:
        return self._space.sum_over_layers(rows, per_layer)

    def params(self, rows: Rows) -> Floats:
        return self.sum(rows, self._params)

    @property
    def lasting_kinds(self) -> tuple[str, ...]:
        return tuple(sorted({_kind(layer) for layer in self._space.layers if _keeps_shape(layer)}))

    def sum_after(self, rows: Rows, per_layer: Floats, kind: str) -> Floats:
        layers = self._space.layers
        begins = np.array([*(_kind(layer) == kind for layer in layers), False])  # index -1 is no layer
        keeps = np.array([*(_keeps_shape(layer) for layer in layers), True])
        padded = np.append(per_layer, 0.0)
        total = np.zeros(len(rows))
        after = np.zeros(len(rows), dtype=bool)
        for slot in np.ascontiguousarray(self._space.layer_ids(rows).T):
            after &= keeps[slot]
            total += padded[slot] * after
            after |= begins[slot]
        return total

    def borders(self, rows: Rows) -> Floats:
        layers = self._space.layers
        found = np.zeros((len(rows), 2))
        if not any(layer.precision for layer in layers):
            return found
        int8 = np.array([*(layer.precision == "int8" for layer in layers), False])  # index -1 is no layer
        given = np.array([*(float(np.prod(layer.input_shape)) for layer in layers), 0.0])
        made = np.array([*(float(np.prod(layer.output_shape)) for layer in layers), 0.0])
        before = np.zeros(len(rows), dtype=bool)  # images and outputs are float
        last = np.zeros(len(rows))
        for slot in np.ascontiguousarray(self._space.layer_ids(rows).T):
            there = slot >= 0
            meets = there & (int8[slot] != before)
            found += meets[:, None] * np.column_stack([np.ones(len(rows)), given[slot]])
            before, last = np.where(there, int8[slot], before), np.where(there, made[slot], last)
        return found + before[:, None] * np.column_stack([np.ones(len(rows)), last])


def _kind(layer: Layer) -> str:
    return f"{layer.kind} in int8" if layer.precision == "int8" else layer.kind


def _keeps_shape(layer: Layer) -> bool:
    return layer.input_shape == layer.output_shape


def layers_of(
    space: SearchSpace,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> LayerSums:
    """The layers of a space, whether it lists them or only builds.

    Args:
        space: one that only builds has some 350 of its networks run to find them.
        seed: seed of the draw of these.
        progress: told networks run, networks in all.
    """
    return SlotSums(space) if space.slots else TracedSums.learn(space, seed, progress)
