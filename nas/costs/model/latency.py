"""The latency of archs from a table: a sum over layers, corrected, with an upper bound at a confidence."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas.costs.layers.probes import copies_of, rows_of
from nas.costs.layers.sums import Floats, LayerSums
from nas.costs.model.conformal import lower_ratio, upper_ratio
from nas.costs.model.correction import Correction, fit_correction
from nas.costs.model.features import network_terms
from nas.costs.table.table import LatencyTable
from search_spaces.space import Rows

_CHUNK = 1 << 14  # archs at a time, so that what is held of them stays in the cache
_LEAST_SHARE = 0.05  # of a layer alone that it takes in a network at least, however the noise fell


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyModel:
    """Predicts the latency of any arch of a space on one profile.

    Attributes:
        layers: the space's.
        layer_ms: milliseconds of each in a network; infinite, with its archs, where the device cannot run it.
        correction: correction of their sum to the latency of a network.
        ratios: measured over predicted, of networks that took no part in making their prediction.
        confidence: confidence of the upper bound.
    """

    layers: LayerSums
    layer_ms: Floats
    correction: Correction
    ratios: tuple[float, ...]
    confidence: float = 0.95

    def latency_ms(self, rows: Rows) -> Floats:
        """The predicted latency of canonical archs, (n,); infinite where one cannot run."""
        parts = [self._latency_ms(rows[i : i + _CHUNK]) for i in range(0, len(rows), _CHUNK)]
        return np.concatenate(parts) if parts else np.empty(0)

    def _latency_ms(self, rows: Rows) -> Floats:
        rows = np.asfortranarray(rows)  # the sums read whole columns
        correction, kinds, moved = self.correction, self.layers.kinds, self.layers.activation_bytes
        per_layer = correction.layers_ms(self.layer_ms, kinds, moved)
        total = self.layers.sum(rows, per_layer) + correction.offset_ms
        if correction.after:
            per_layer = correction.after_ms(kinds, moved)
            total = total + self.layers.sum_after(rows, per_layer, correction.after)
        if correction.per_border_ms or correction.per_converted_ms:
            borders = self.layers.borders(rows)
            total = total + borders @ np.array([correction.per_border_ms, correction.per_converted_ms])
        if correction.ms_per_spilled_byte:
            weights = self.layers.sum(rows, self.layers.weight_bytes)
            total = correction.add_spill(total, weights)
        return total

    def predict(self, rows: Rows) -> tuple[Floats, Floats]:
        """Latency and its upper bound at ``confidence``, both (n,), in ms: limits hold for the bound."""
        latency = self.latency_ms(rows)
        return latency, latency * self.upper_share

    def interval(self, rows: Rows) -> tuple[Floats, Floats]:
        """Lower and upper end of the two-sided interval at ``confidence``, both (n,), in ms."""
        latency, each = self.latency_ms(rows), (1 + self.confidence) / 2
        return latency * self.lower_share, latency * upper_ratio(self.ratios, each)

    @property
    def upper_share(self) -> float:
        """What the upper bound at ``confidence`` is of a prediction."""
        return upper_ratio(self.ratios, self.confidence)

    @property
    def lower_share(self) -> float:
        """What the lower end of that interval is of a prediction."""
        return lower_ratio(self.ratios, (1 + self.confidence) / 2)

    def calibrated(self, rows: Rows, measured_ms: Floats) -> LatencyModel:
        """The same predictions with intervals that have seen these networks, drawn at random.

        Where they are enough for both ends of the interval, they alone count: a network left out of the fit
        is harder to predict than others, for the fit's are chosen to be unlike each other.
        """
        ratios = tuple(float(ratio) for ratio in measured_ms / self.latency_ms(rows))
        enough = len(ratios) * (1 - self.confidence) / 2 >= 1
        return replace(self, ratios=ratios if enough else (*self.ratios, *ratios))


def lone_latencies(layers: LayerSums, table: LatencyTable) -> Floats:
    """The latency of each layer alone, (n layers,); infinite for a layer the device cannot run.

    Raises:
        ValueError: the table lacks layers of the space; the message says how to measure them.
    """
    rows = table.of("layer")
    missing = [key for key in layers.keys if key not in rows.index]
    if missing:
        raise ValueError(
            f"the table of profile {table.header.profile!r} lacks {len(missing)} of {len(layers.keys)} "
            f"layers, the first is {missing[0]!r}; run quarry measure for this space again, it "
            "measures only what is missing"
        )
    chosen = rows.loc[list(layers.keys)]
    return np.where(chosen.status == "measured", chosen.median_ms.astype(float), np.inf)


def layer_latencies(layers: LayerSums, table: LatencyTable) -> Floats:
    """What each layer takes in a network, (n layers,): a copy's share of a chain of them.

    A layer that cannot stand in a chain takes what it takes alone, less what being alone cost those that can
    (a call of the runtime, in the main): those of its kind, or all where none of its kind can. Infinite is
    what cannot run.

    Raises:
        ValueError: as ``lone_latencies``.
    """
    alone = lone_latencies(layers, table)
    column = {key: index for index, key in enumerate(layers.keys)}
    shares = np.full(len(alone), np.nan)
    rows = table.of("chain")
    for key, chain_ms in rows[rows.status == "measured"].median_ms.items():
        layer_key, copies = copies_of(str(key))
        index = column.get(layer_key)
        if index is not None:
            shares[index] = chain_ms / copies
    in_a_chain = np.isfinite(alone) & np.isfinite(shares)
    price = _price(alone - shares, in_a_chain, np.array(layers.kinds))
    return np.maximum(np.where(in_a_chain, shares, alone - price), _LEAST_SHARE * alone)


def _price(differences_ms: Floats, known: NDArray[np.bool_], kinds: NDArray[np.str_]) -> Floats:
    """The median, for each layer, of the known differences of its kind, or of all where its kind has none."""
    price = np.full(len(kinds), np.median(differences_ms[known]) if known.any() else 0.0)
    for kind in set(kinds[known].tolist()):
        price[kinds == kind] = np.median(differences_ms[known & (kinds == kind)])
    return price


def measured_networks(table: LatencyTable, occasion: int = 0) -> tuple[Rows, Floats]:
    """The archs measured whole in a table, (n, n choices), and their latencies, (n,)."""
    rows: pd.DataFrame = table.of("network", occasion)
    rows = rows[rows.status == "measured"]
    if not len(rows):
        return np.empty((0, 0), dtype=np.int64), np.empty(0)
    return rows_of(list(rows.index)), rows.median_ms.to_numpy(dtype=float)


def fit_latency(
    layers: LayerSums,
    table: LatencyTable,
    rows: Rows,
    measured_ms: Floats,
    *,
    confidence: float = 0.95,
) -> LatencyModel:
    """Fits the correction on whole networks.

    The intervals start from what fits that left a network out predict for it (the jackknife+ of Barber et
    al., Annals of Statistics 2021, with one model for the point); ``calibrated`` adds more.

    Args:
        layers: layers of the space.
        table: table with every layer of the space.
        rows: archs measured whole, (n, n choices), n >= 5.
        measured_ms: their latencies, (n,).
        confidence: confidence of the upper bounds.

    Raises:
        ValueError: too few networks, or a layer that the table lacks.
    """
    layer_ms = layer_latencies(layers, table)
    usable = np.isfinite(layers.sum(rows, layer_ms))
    rows, measured_ms = rows[usable], measured_ms[usable]
    terms = network_terms(layers, layer_ms, rows)
    correction, left_out = fit_correction(terms, measured_ms)
    return LatencyModel(
        layers=layers,
        layer_ms=layer_ms,
        correction=correction,
        ratios=tuple(float(ratio) for ratio in (measured_ms / left_out)[_interior(terms.sums_ms)]),
        confidence=confidence,
    )


def _interior(sums: Floats) -> NDArray[np.bool_]:
    """All but the ends of the range, where leaving one out makes an extrapolation as no prediction is."""
    return (sums > sums.min()) & (sums < sums.max())
