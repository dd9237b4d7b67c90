"""What is measured: layers, alone and in chains of copies, and whole networks to learn from and to check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from search_spaces.space import Rows, SearchSpace

Make = Callable[[], nn.Module]

COPIES = 8  # copies of a layer in a chain: enough for the ends not to matter
CHAIN_BYTES = 16_000_000  # of weights in a chain, at most: it should fit where a network fits
DRAWS = 50  # where a device can run few archs of a space, so many batches are looked through


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One thing to measure.

    Attributes:
        kind: ``layer``, ``chain`` or ``network``.
        key: the layer's key, ``chain_key`` of it, or ``network_key`` of the arch.
        input_shape: shape of the input, without the batch.
        make: builds the module.
        occasion: 0, or 1 for the repetition that tells the noise floor.
    """

    kind: str
    key: str
    input_shape: tuple[int, ...]
    make: Make
    occasion: int = 0

    @property
    def identity(self) -> tuple[str, str, int]:
        """What makes two probes the same line of a table."""
        return self.kind, self.key, self.occasion


def network_key(row: Rows) -> str:
    """A canonical arch as text: its value indices."""
    return ",".join(str(int(index)) for index in row)


def rows_of(keys: Sequence[str]) -> Rows:
    """The rows of network keys, (n, n choices)."""
    return np.array([[int(index) for index in key.split(",")] for key in keys], dtype=np.int64)


def chain_key(layer_key: str, copies: int) -> str:
    """What a chain of copies of a layer is called in a table."""
    return f"{copies} x {layer_key}"


def layer_kind(key: str) -> str:
    """The kind of a layer, such as ``attention``, from its key."""
    return key.split("(", 1)[0]


def copies_of(key: str) -> tuple[str, int]:
    """The layer's key and how many copies of it stand in the chain of that key."""
    copies, _, layer_key = key.partition(" x ")
    return layer_key, int(copies)


class LayerChain(nn.Sequential):
    """Copies of a layer one after another, each with weights of its own."""


def layer_probes(space: SearchSpace) -> list[Probe]:
    """Every distinct layer of a space of slots, alone; and in a chain, where its output fits its input.

    What a layer adds to a chain is what it takes in a network: no call of the runtime, no change of the
    memory layout at either end, and weights that other layers have pushed out of the nearest cache.
    """
    alone = [
        Probe(kind="layer", key=layer.key, input_shape=layer.input_shape, make=layer.build)
        for layer in space.layers
    ]
    return alone + [
        chain_probe(layer.key, layer.input_shape, layer.build)
        for layer in space.layers
        if layer.input_shape == layer.output_shape
    ]


def chain_probe(layer_key: str, shape: tuple[int, ...], make: Make) -> Probe:
    """Copies of a layer whose output has the shape of its input, one after another."""
    weights = 4 * sum(parameter.numel() for parameter in make().parameters())
    copies = max(2, min(COPIES, CHAIN_BYTES // max(weights, 1)))
    return Probe(
        kind="chain",
        key=chain_key(layer_key, copies),
        input_shape=shape,
        make=lambda: LayerChain(*(make() for _ in range(copies))),
    )


def network_probes(space: SearchSpace, rows: Rows, *, occasion: int = 0) -> list[Probe]:
    """Whole networks of a space."""

    def probe(row: Rows) -> Probe:
        arch = space.to_arch(row)
        return Probe(
            kind="network",
            key=network_key(row),
            input_shape=space.input_shape(arch),
            make=lambda: space.build(arch),
            occasion=occasion,
        )

    return [probe(row) for row in space.canonical(rows)]


def sample_networks(
    space: SearchSpace,
    n: int,
    rng: np.random.Generator,
    *,
    runs: Callable[[Rows], NDArray[np.bool_]] = lambda rows: np.ones(len(rows), dtype=bool),
) -> Rows:
    """n different archs (fewer where there are fewer), the smallest and the largest network first.

    The ends of the range come first because a correction that has seen them never extrapolates.

    Args:
        space: space to draw from.
        n: how many.
        rng: generator of the draw.
        runs: whether the device can run each arch, (n,); others are passed over.
    """
    found = space.ends[runs(space.ends)]
    for _ in range(DRAWS):
        drawn = space.sample(4 * n + 16, rng)
        found = np.vstack([found, drawn[runs(drawn)]])
        _, first = np.unique(found, axis=0, return_index=True)
        found = found[np.sort(first)]
        if len(found) >= n:
            break
    return found[:n]
