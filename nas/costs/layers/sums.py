"""The layers of a space as cost models read them: keys, kinds, weights, and sums over the layers of archs."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nas.costs.counts.analytic import AnalyticCosts
from search_spaces.layer import Layer
from search_spaces.space import Rows, SearchSpace

Floats = NDArray[np.float64]


class LayerSums(Protocol):
    """What a latency model needs to know of a space."""

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
        """The float32 weights of each."""
        ...

    @property
    def activation_bytes(self) -> Floats:
        """The float32 inputs and outputs of each, for one input."""
        ...

    def sum(self, rows: Rows, per_layer: Floats) -> Floats:
        """Sum of a per-layer quantity over the layers of each arch, (n,)."""
        ...

    @property
    def lasting_kinds(self) -> tuple[str, ...]:
        """Kinds whose layers may change how later layers of the same shape run."""
        ...

    def sum_after(self, rows: Rows, per_layer: Floats, kind: str) -> Floats:
        """Like ``sum``, of those layers alone that a layer of ``kind`` comes before at their shape, (n,)."""
        ...


class SlotSums:
    """The sums of a space of slots, which are table look-ups over whole populations."""

    def __init__(self, space: SearchSpace, analytic: AnalyticCosts | None = None) -> None:
        self._space = space
        self._analytic = analytic or AnalyticCosts(space)

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(layer.key for layer in self._space.layers)

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(layer.kind for layer in self._space.layers)

    @property
    def weight_bytes(self) -> Floats:
        return 4.0 * self._analytic.per_layer("params")

    @property
    def activation_bytes(self) -> Floats:
        return self._analytic.per_layer("traffic_bytes") - self.weight_bytes

    def sum(self, rows: Rows, per_layer: Floats) -> Floats:
        return self._space.sum_over_layers(rows, per_layer)

    @property
    def lasting_kinds(self) -> tuple[str, ...]:
        return tuple(sorted({layer.kind for layer in self._space.layers if _keeps_shape(layer)}))

    def sum_after(self, rows: Rows, per_layer: Floats, kind: str) -> Floats:
        layers = self._space.layers
        begins = np.array([*(layer.kind == kind for layer in layers), False])  # index -1 is no layer
        keeps = np.array([*(_keeps_shape(layer) for layer in layers), True])
        padded = np.append(per_layer, 0.0)
        total = np.zeros(len(rows))
        after = np.zeros(len(rows), dtype=bool)
        for slot in np.ascontiguousarray(self._space.layer_ids(rows).T):
            after &= keeps[slot]
            total += padded[slot] * after
            after |= begins[slot]
        return total


def _keeps_shape(layer: Layer) -> bool:
    return layer.input_shape == layer.output_shape
