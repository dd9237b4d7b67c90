"""What a profile measures: every distinct layer once, and whole networks to learn from and to check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from search_spaces.space import Rows, SearchSpace

DRAWS = 50  # where a device can run few archs of a space, so many batches are looked through


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One thing to measure.

    Attributes:
        kind: ``layer`` or ``network``.
        key: the layer's key, or ``network_key`` of the arch.
        input_shape: without the batch.
        make: builds the module.
        occasion: 0, or 1 for the repetition that tells the noise floor.
    """

    kind: str
    key: str
    input_shape: tuple[int, ...]
    make: Callable[[], nn.Module]
    occasion: int = 0

    @property
    def identity(self) -> tuple[str, str, int]:
        """What makes two probes the same row of a table."""
        return self.kind, self.key, self.occasion


def network_key(row: Rows) -> str:
    """A canonical arch as text: its value indices."""
    return ",".join(str(int(index)) for index in row)


def rows_of(keys: Sequence[str]) -> Rows:
    """The rows of network keys, (n, n choices)."""
    return np.array([[int(index) for index in key.split(",")] for key in keys], dtype=np.int64)


def layer_probes(space: SearchSpace) -> list[Probe]:
    """Every distinct layer of a space of slots."""
    return [
        Probe(kind="layer", key=layer.key, input_shape=layer.input_shape, make=layer.build)
        for layer in space.layers
    ]


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
        space: to draw from.
        n: how many.
        rng: of the draw.
        runs: which archs the device can run, (n,); others are passed over.
    """
    found = np.array([space.to_row(space.smallest()), space.to_row(space.largest())])
    found = found[runs(found)]
    for _ in range(DRAWS):
        drawn = space.sample(4 * n + 16, rng)
        found = np.vstack([found, drawn[runs(drawn)]])
        _, first = np.unique(found, axis=0, return_index=True)
        found = found[np.sort(first)]
        if len(found) >= n:
            break
    return found[:n]
