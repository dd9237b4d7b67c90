"""The layers of a space as cost models read them: keys, kinds, weights, and sums over the layers of archs."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nas.costs.analytic import AnalyticCosts
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


class SlotSums:
    """Of a space of slots, whose sums are table look-ups over whole populations."""

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
