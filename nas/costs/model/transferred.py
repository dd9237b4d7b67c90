"""The table of a new device from few whole networks measured there and the tables of known devices.

A mixture of the known devices, fitted on those networks (``transfer``), says what every layer and network
would take. The table holds that in the place of measurements, so that a run works with it as with any other;
the networks that were measured twice take no part, and are its check.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from nas.costs.layers.probes import network_key, sample_networks
from nas.costs.layers.sums import Floats, LayerSums
from nas.costs.model.fit import Measured, fit_table
from nas.costs.model.latency import measured_networks
from nas.costs.model.transfer import TransferModel, transfer
from nas.costs.table.table import COLUMNS, LatencyTable
from search_spaces.space import Rows, SearchSpace

FEWEST = 5
"""Networks to fit the mixture on, at least."""
STAND_INS = 60
"""Networks that nobody measured, by which the table says how known devices add layers up."""
_LEAST_SHARE = 0.05  # of what a layer takes on known devices, scaled, that the mixture gives it at least


@dataclass(frozen=True, slots=True, kw_only=True)
class Transferred:
    """A device from few measurements.

    Attributes:
        measured: Table and predictions, with the check on the networks that were measured twice.
        mixture: Mixture of known devices.
        left_out: Share by which each network of the fit was off when it was left out, (n,).
    """

    measured: Measured
    mixture: TransferModel
    left_out: tuple[float, ...]


def transferred_table(
    space: SearchSpace,
    layers: LayerSums,
    known: Sequence[LatencyTable],
    few: LatencyTable,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Transferred:
    """Makes the table of a device on which few networks were measured, and fits it.

    Args:
        space: space of all the tables.
        layers: layers of the space.
        known: tables of known devices.
        few: networks measured on the new device, five or more once and some twice.
        confidence: confidence of the upper bounds.
        seed: seed of the networks that stand in for measured ones.

    Raises:
        ValueError: a table of another space, no known device, or too few networks.
    """
    for table in (*known, few):
        if table.header.space_fingerprint != space.fingerprint:
            raise ValueError(
                f"the table of {table.header.profile} on {table.header.machine} is of space "
                f"{table.header.space!r} ({table.header.space_fingerprint}), not of {space.name!r} "
                f"({space.fingerprint})"
            )
    if not known:
        raise ValueError("a transfer needs the table of at least one known device")
    models = [fit_table(table, layers, confidence).model for table in known]
    rows, latency_ms = measured_networks(few)
    if len(rows):
        runs = np.all([np.isfinite(model.latency_ms(rows)) for model in models], axis=0)
        rows, latency_ms = rows[runs], latency_ms[runs]
    twice = set(measured_keys(few, occasion=1)) & {network_key(row) for row in rows}
    fitting = np.array([network_key(row) not in twice for row in rows], dtype=bool)
    if fitting.sum() < FEWEST or not twice:
        raise ValueError(
            f"of networks that the known devices run, {int(fitting.sum())} were measured once on the new one "
            f"and {len(twice)} twice; it takes {FEWEST} or more once, to fit, and one or more twice, to check"
        )
    mixture = transfer(models, rows[fitting], latency_ms[fitting], confidence=confidence)
    table = LatencyTable(
        header=few.header,
        lines=pd.concat(
            [
                _layer_lines(known, mixture),
                few.lines[few.lines.kind == "network"][list(COLUMNS)],
                _stand_ins(space, mixture, few, known, seed),
            ],
            ignore_index=True,
        ),
    )
    return Transferred(
        measured=fit_table(table, layers, confidence),
        mixture=mixture,
        left_out=tuple(abs(1 / ratio - 1) for ratio in mixture.ratios),
    )


def measured_keys(table: LatencyTable, *, occasion: int) -> list[str]:
    """Keys of the networks that a table has a time of."""
    lines = table.of("network", occasion)
    return list(lines[lines.status == "measured"].index)


def _layer_lines(known: Sequence[LatencyTable], mixture: TransferModel) -> pd.DataFrame:
    """Layers and chains of the known devices, each the mixture of what it takes there."""
    first = known[0].lines
    lines = first[first.kind.isin(("layer", "chain"))].copy()
    every = [table.lines.set_index(["kind", "key", "occasion"]) for table in known]
    identities = list(zip(lines.kind, lines.key, lines.occasion, strict=True))
    found = np.full((len(lines), len(known)), np.nan)
    for column, one in enumerate(every):
        there = one[one.status == "measured"].median_ms
        found[:, column] = there.reindex(identities).to_numpy(dtype=float)
    mixed = _mixed(found, np.array(mixture.weights))
    runs = np.isfinite(mixed)
    least, most = _off(mixture)
    names = " and ".join(table.header.profile for table in known)
    refused = np.array(["a known device does not run it"] * len(lines), dtype=object)
    for one in reversed(every):  # the first that does not run it says why
        reasons = one[one.status != "measured"].reason.reindex(identities).fillna("").to_numpy()
        refused = np.where(reasons != "", reasons, refused)
    return lines.assign(
        median_ms=mixed,
        low_ms=mixed * least,
        high_ms=mixed * most,
        repeats=0,
        status=np.where(runs, "measured", "unsupported"),
        reason=np.where(runs, f"predicted from {names}", refused),
    )[list(COLUMNS)]


def _off(mixture: TransferModel) -> tuple[float, float]:
    """Ends of a prediction's interval as shares of it: as far as networks that were left out were off.

    A measurement, which is surer, then takes its place where tables are merged.
    """
    ratios = [ratio for ratio in mixture.ratios if ratio > 0] + [1.0]
    return min(ratios), max(ratios)


def _mixed(found: Floats, weights: Floats) -> Floats:
    """Mixtures of (n, devices), (n,); weights below zero take a layer no lower than a share of its scale."""
    scale = found.mean(axis=1) * max(float(weights.sum()), _LEAST_SHARE)
    return np.maximum(found @ weights, _LEAST_SHARE * scale)


def _stand_ins(
    space: SearchSpace,
    mixture: TransferModel,
    few: LatencyTable,
    known: Sequence[LatencyTable],
    seed: int,
) -> pd.DataFrame:
    """Networks that were not measured, each with its prediction times one of the errors of those left out.

    So intervals that are fitted on them are as wide as predictions are wrong.
    """
    rng = np.random.default_rng(seed)
    rows = space.canonical(sample_networks(space, STAND_INS + len(few.lines), rng))
    had = set(few.lines[few.lines.kind == "network"].key)
    rows = np.array([row for row in rows if network_key(row) not in had][:STAND_INS], dtype=np.int64)
    if not len(rows):
        return pd.DataFrame(columns=list(COLUMNS))
    latency_ms = mixture.latency_ms(rows) * rng.choice(mixture.ratios, size=len(rows))
    good = np.isfinite(latency_ms) & (latency_ms > 0)
    return pd.DataFrame(
        [_line(space, row, ms, mixture, known) for row, ms in zip(rows[good], latency_ms[good], strict=True)]
    )


def _line(
    space: SearchSpace, row: Rows, latency_ms: float, mixture: TransferModel, known: Sequence[LatencyTable]
) -> dict[str, object]:
    least, most = _off(mixture)
    return {
        "kind": "network",
        "key": network_key(row),
        "input": "x".join(map(str, space.input_shape(space.to_arch(row)))),
        "occasion": 0,
        "median_ms": latency_ms,
        "low_ms": latency_ms * least,
        "high_ms": latency_ms * most,
        "repeats": 0,
        "status": "measured",
        "reason": "predicted from " + " and ".join(table.header.profile for table in known),
    }
