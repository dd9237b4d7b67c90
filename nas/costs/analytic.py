"""Costs that need no device: multiply-accumulates, parameters, file size and peak activation memory.

Counted once per distinct layer on the layer as built; a population is then costed by indexing. A space
that only builds is counted network by network, each arch once.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nas.costs.memory import peak_activation_bytes
from nas.costs.probes import network_key
from search_spaces.space import Rows, SearchSpace

# Not multiply-accumulates of the deployed network: norms are folded away, pooling adds and compares.
_UNCOUNTED = (
    "batch_norm",
    "layer_norm",
    "group_norm",
    "instance_norm",
    "adaptive_avg_pool2d",
    "upsample_nearest2d",
)


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


def _nothing(_inputs: object, _outputs: object) -> int:
    return 0


def count(module: nn.Module, input_shape: tuple[int, ...]) -> Counts:
    """Counts a module on one input of that shape (without the batch).

    MACs are those of fvcore (github.com/facebookresearch/fvcore, ``FlopCountAnalysis``), which calls them
    flops, without norms and pooling.
    """
    from fvcore.nn import FlopCountAnalysis

    module = module.eval()
    example = torch.zeros(1, *input_shape)
    analysis = FlopCountAnalysis(module, (example,))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    analysis.set_op_handle(**{f"aten::{name}": _nothing for name in _UNCOUNTED})
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer it uses deprecates itself
        macs = int(analysis.total())
        elements = example.numel() + module(example).numel()
    params = sum(parameter.numel() for parameter in module.parameters())
    return Counts(
        macs=macs,
        params=params,
        peak_memory_bytes=peak_activation_bytes(module, input_shape),
        traffic_bytes=4 * (params + elements),
    )


class AnalyticCosts:
    """Counts of a space's archs, vectorised over populations where the space has layers.

    Args:
        space: whose archs are costed.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self._networks: dict[str, Counts] = {}
        self._per_layer: dict[str, NDArray[np.float64]] = {}

    def per_layer(self, name: str) -> NDArray[np.float64]:
        """One of the fields of ``Counts`` for each of the space's layers, (n layers,)."""
        if not self._per_layer:
            counts = [count(layer.build(), layer.input_shape) for layer in self.space.layers]
            for field in fields(Counts):
                self._per_layer[field.name] = np.array(
                    [getattr(entry, field.name) for entry in counts], dtype=np.float64
                )
        return self._per_layer[name]

    def macs(self, rows: Rows) -> NDArray[np.float64]:
        """Multiply-accumulates of each arch, (n,)."""
        return self._sum(rows, "macs")

    def params(self, rows: Rows) -> NDArray[np.float64]:
        """Parameters of each arch, (n,)."""
        return self._sum(rows, "params")

    def size_bytes(self, rows: Rows) -> NDArray[np.float64]:
        """Bytes of the weights of each arch in float32, (n,); a file holds these and a few kilobytes."""
        return 4.0 * self._sum(rows, "params")

    def peak_memory_bytes(self, rows: Rows) -> NDArray[np.float64]:
        """Activations alive at once, at most, for one input, (n,).

        In a chain of layers nothing outlives the layer that reads it, so the network's peak is its worst
        layer's.
        """
        if not self.space.slots:
            return self._network_counts(rows, "peak_memory_bytes")
        padded = np.append(self.per_layer("peak_memory_bytes"), 0.0)  # index -1 reads the zero
        return np.asarray(padded[self.space.layer_ids(rows)].max(axis=1))

    def __call__(self, rows: Rows) -> dict[str, NDArray[np.float64]]:
        """All of them by name, as searches take them."""
        return {
            "macs": self.macs(rows),
            "params": self.params(rows),
            "size_bytes": self.size_bytes(rows),
            "peak_memory_bytes": self.peak_memory_bytes(rows),
        }

    def _sum(self, rows: Rows, name: str) -> NDArray[np.float64]:
        if not self.space.slots:
            return self._network_counts(rows, name)
        return self.space.sum_over_layers(rows, self.per_layer(name))

    def _network_counts(self, rows: Rows, name: str) -> NDArray[np.float64]:
        values = np.empty(len(rows))
        for index, row in enumerate(self.space.canonical(rows)):
            key = network_key(row)
            if key not in self._networks:
                arch = self.space.to_arch(row)
                self._networks[key] = count(self.space.build(arch), self.space.input_shape(arch))
            values[index] = getattr(self._networks[key], name)
        return values
