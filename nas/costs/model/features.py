"""What a latency correction reads of networks: the terms of its regression, before anything is fitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nas.costs.layers.sums import Floats, LayerSums
from search_spaces.space import Rows

# Where weights outgrow the cache, in bytes; or never, which is written as infinity.
CACHE_BYTES = tuple(2.0**power for power in range(18, 26))
NOTICED = 0.05  # the share of a cache that has to spill for its size to be told from the measurements


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The features of n networks, from which their latency is predicted.

    Attributes:
        layers_ms: what each layer's copies in the network take by the table, (n, layers).
        counts: layers of each kind, (n, kinds).
        moved_bytes: inputs and outputs of the layers of each kind, (n, kinds).
        weight_bytes: (n,).
        borders: how often float meets int8, and the numbers that are converted there, (n, 2).
        after: number of the layers after one of a kind that may change how they run, and their inputs' and
            outputs' bytes, (n, 2), by that kind.
    """

    layers_ms: Floats
    counts: Floats
    moved_bytes: Floats
    weight_bytes: Floats
    borders: Floats
    after: Mapping[str, Floats]

    @property
    def sums_ms(self) -> Floats:
        """The plain sums over layers, (n,)."""
        return np.asarray(self.layers_ms.sum(axis=1))

    @property
    def cache_sizes(self) -> tuple[float, ...]:
        """The sizes of a cache that these networks could tell from one another; infinity where none."""
        found = [size for size in CACHE_BYTES if spilled(self.weight_bytes, size).max() >= NOTICED * size]
        return tuple(found) or (float("inf"),)

    def features(self, kind: str, cache_bytes: float) -> Floats:
        """The columns of the regression in the order of ``spreads``, (n, columns).

        Args:
            kind: kind that changes later layers; empty where none does.
            cache_bytes: beyond which weights are read anew.
        """
        n = len(self.layers_ms)
        later = self.after.get(kind, np.zeros((n, 2)))
        spill = spilled(self.weight_bytes, cache_bytes)
        return np.column_stack(
            [
                *(self.sums_ms, np.ones(n), later, spill, self.borders),
                *(self.counts, self.moved_bytes, self.layers_ms),
            ]
        )

    def spreads(self) -> Floats:
        """How far each coefficient may be expected from its prior, (columns,).

        A ridge needs them in one unit. The prior is the plain sum. A layer's own share is expected to be
        off by less than a third, as all are together.
        """
        total = self.counts.sum(axis=1)
        typical_ms = float(np.median(self.sums_ms))
        layer_ms = 0.3 * float(np.median(self.sums_ms / total))
        byte_ms = layer_ms / max(float(np.median(self.moved_bytes.sum(axis=1) / total)), 1.0)
        kinds, layers = self.counts.shape[1], self.layers_ms.shape[1]
        weight_ms = typical_ms / max(float(self.weight_bytes.max()), 1.0)
        return np.array(
            [
                *(0.3, 0.1 * typical_ms, 2 * layer_ms, 2 * byte_ms, weight_ms),
                *(2 * layer_ms, 2 * byte_ms),
                *([layer_ms] * kinds + [byte_ms] * kinds + [0.3] * layers),
            ]
        )


def network_terms(layers: LayerSums, layer_ms: Floats, rows: Rows) -> Terms:
    """The terms of networks whose layers all run.

    Args:
        layers: layers of the space.
        layer_ms: what each takes in a network, (layers,); infinite for those that cannot run.
        rows: archs without such layers, (n, n choices).
    """
    counts = np.column_stack([layers.sum(rows, each) for each in np.eye(len(layer_ms))])
    of_kind = np.array([[float(kind == each) for each in sorted(set(layers.kinds))] for kind in layers.kinds])
    moved = layers.activation_bytes
    others = {kind: np.array([float(each != kind) for each in layers.kinds]) for kind in layers.lasting_kinds}
    return Terms(
        layers_ms=counts * np.where(np.isfinite(layer_ms), layer_ms, 0.0),
        counts=counts @ of_kind,
        moved_bytes=counts @ (of_kind * moved[:, None]),
        weight_bytes=counts @ layers.weight_bytes,
        borders=layers.borders(rows),
        after={
            kind: np.column_stack([layers.sum_after(rows, each, kind) for each in (other, other * moved)])
            for kind, other in others.items()
        },
    )


def spilled(weight_bytes: Floats, cache_bytes: float) -> Floats:
    """Bytes of weights read from beyond the cache in each run.

    Caches are shared with activations and evict imperfectly, so spilling starts at a third of the size and
    is complete at all of it.
    """
    if not np.isfinite(cache_bytes):
        return np.zeros_like(weight_bytes)
    share = np.clip((weight_bytes / cache_bytes - 1 / 3) * 1.5, 0, 1)
    return np.asarray(weight_bytes * share)
