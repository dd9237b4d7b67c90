"""Costs that need no device: multiply-accumulates, parameters, file size and peak activation memory.

Counted once per distinct layer on the layer as built; a population is then costed by indexing. The layers of
a space that only builds are found by tracing; where their sum is not the network's (a module with several
inputs, say) it is counted network by network, each arch once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nas.costs.counts.memory import peak_activation_bytes
from nas.costs.layers.probes import network_key
from nas.costs.layers.sums import LayerSums, layers_of
from search_spaces.reference.macs import count_macs
from search_spaces.space import Rows, SearchSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What one layer or network holds and does for one input.

    Attributes:
        macs: multiply-accumulates of convolutions, linear layers and matrix products.
        params: parameters, norms' included.
        peak_memory_bytes: activations alive at once, at most, in float32.
        traffic_bytes: weights, inputs and outputs, each moved once, in float32.
    """

    macs: int
    params: int
    peak_memory_bytes: int
    traffic_bytes: int


def count(module: nn.Module, input_shape: tuple[int, ...], *, macs: int | None = None) -> Counts:
    """Counts a module on one input of that shape (without the batch), its ``macs`` unless they are known."""
    module.eval()
    macs = count_macs(module, input_shape) if macs is None else macs
    example = torch.zeros(1, *input_shape)
    with torch.no_grad():
        elements = example.numel() + module(example).numel()
    params = sum(parameter.numel() for parameter in module.parameters())
    return Counts(
        macs=macs,
        params=params,
        peak_memory_bytes=peak_activation_bytes(module, input_shape),
        traffic_bytes=4 * (params + elements),
    )


class AnalyticCosts:
    """Counts of a space's archs, vectorised over populations.

    Args:
        space: search space whose archs are costed.
        peak_memory: whether calls give the peak memory even of a space that only builds, where it takes some
            20 ms an arch and all else is looked up.
    """

    def __init__(self, space: SearchSpace, *, peak_memory: bool = True) -> None:
        self.space = space
        self._peak_memory = peak_memory
        self._networks: dict[str, Counts] = {}

    @cached_property
    def layers(self) -> LayerSums:
        """The space's distinct layers, which are counted once."""
        return layers_of(self.space)

    @cached_property
    def _layer_counts(self) -> list[Counts]:
        modules = self.layers.modules
        known = map(int, self.space.layer_macs) if self.layers.exact else [None] * len(modules)
        return [count(make(), shape, macs=macs) for (make, shape), macs in zip(modules, known, strict=True)]

    @cached_property
    def _adds_up(self) -> bool:
        """Whether the layers make up the networks; a few are counted where that is not by construction."""
        if self.layers.exact:
            return True
        rows = np.vstack([self.space.ends, self.space.sample(2, np.random.default_rng(0))])
        return bool((self.layers.sum(rows, self.per_layer("macs")) == self._of_networks(rows, "macs")).all())

    @property
    def layer_keys(self) -> tuple[str, ...]:
        """The key of each of the space's distinct layers."""
        return self.layers.keys

    def per_layer(self, name: str) -> NDArray[np.float64]:
        """One of the fields of ``Counts`` for each of the space's layers, (n layers,)."""
        return np.array([getattr(counts, name) for counts in self._layer_counts], dtype=np.float64)

    def macs(self, rows: Rows) -> NDArray[np.float64]:
        """Multiply-accumulates of each arch, (n,)."""
        if self._adds_up:
            return self.layers.sum(rows, self.per_layer("macs"))
        return self._of_networks(rows, "macs")

    def params(self, rows: Rows) -> NDArray[np.float64]:
        """Parameters of each arch, (n,)."""
        return self.layers.params(rows)

    def size_bytes(self, rows: Rows) -> NDArray[np.float64]:
        """Bytes of the weights of each arch, (n,); a file holds these and a few kilobytes.

        In float32, but one byte a number in layers that are int8.
        """
        if self.layers.exact:
            return self.layers.sum(rows, self.layers.weight_bytes)
        return 4.0 * self.params(rows)

    def peak_memory_bytes(self, rows: Rows) -> NDArray[np.float64]:
        """Activations alive at once, at most, for one input, (n,).

        In a chain of layers nothing outlives the layer that reads it, so the network's peak is its worst
        layer's.
        """
        if self.layers.exact:
            int8 = np.array([layer.precision == "int8" for layer in self.space.layers])
            peaks = self.per_layer("peak_memory_bytes") / np.where(int8, 4.0, 1.0)
            padded = np.append(peaks, 0.0)  # index -1 reads the zero
            return np.asarray(padded[self.space.layer_ids(rows)].max(axis=1))
        return self._of_networks(rows, "peak_memory_bytes")

    def __call__(self, rows: Rows) -> dict[str, NDArray[np.float64]]:
        """All of them by name, as searches take them."""
        costs = {
            "macs": self.macs(rows),
            "params": self.params(rows),
            "size_bytes": self.size_bytes(rows),
        }
        if self._peak_memory or self.layers.exact:
            costs["peak_memory_bytes"] = self.peak_memory_bytes(rows)
        return costs

    def _of_networks(self, rows: Rows, name: str) -> NDArray[np.float64]:
        values = np.empty(len(rows))
        for index, row in enumerate(self.space.canonical(rows)):
            key = network_key(row)
            if key not in self._networks:
                arch = self.space.to_arch(row)
                self._networks[key] = count(self.space.build(arch), self.space.input_shape(arch))
            values[index] = getattr(self._networks[key], name)
        return values
