"""How far predictions are to be trusted: predicted against measured on networks that took no part."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from scipy import stats

from nas.costs.layers.sums import Floats
from nas.costs.model.latency import LatencyModel
from search_spaces.space import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyCheck:
    """Predicted against measured latency of whole networks. Shares and errors are fractions.

    Attributes:
        networks: how many were checked.
        mape: mean of |predicted / measured - 1|.
        within_5_percent: share of networks with an error of at most 5 %.
        within_10_percent: likewise.
        spearman: rank correlation.
        coverage: share whose measured latency lies in the two-sided interval.
        upper_coverage: share under the one-sided upper bound.
        confidence: both were made for.
        noise_floor: mean of |second / first - 1| of the networks measured twice; NaN where none was.
        ceiling_within_5_percent: what a perfect predictor would score at this noise.
        predicted_ms: of each network.
        low_ms: of each network's interval.
        high_ms: likewise.
        measured_ms: likewise.
        again_ms: measured the second time, empty where it was not.
    """

    networks: int
    mape: float
    within_5_percent: float
    within_10_percent: float
    spearman: float
    coverage: float
    upper_coverage: float
    confidence: float
    noise_floor: float
    ceiling_within_5_percent: float
    predicted_ms: tuple[float, ...]
    low_ms: tuple[float, ...]
    high_ms: tuple[float, ...]
    measured_ms: tuple[float, ...]
    again_ms: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """For a file; what is not a number is null there."""
        return {
            name: None if isinstance(value, float) and not np.isfinite(value) else value
            for name, value in asdict(self).items()
        }

    @staticmethod
    def from_json(entries: dict[str, Any]) -> LatencyCheck:
        """The inverse of ``to_json``.

        Raises:
            ValueError: fields are missing or unknown.
        """
        wanted = {field.name for field in fields(LatencyCheck)}
        if set(entries) != wanted:
            raise ValueError(
                f"a latency check has the fields {', '.join(sorted(wanted))}; "
                f"got {', '.join(sorted(entries))}"
            )
        values: dict[str, Any] = {
            name: float("nan") if value is None else tuple(value) if isinstance(value, list) else value
            for name, value in entries.items()
        }
        return LatencyCheck(**values)

    def summary(self) -> str:
        """The figures in one sentence."""
        return (
            f"{self.networks} unseen networks: {self.mape:.1%} off on average, {self.within_5_percent:.0%} "
            f"within 5 %, {self.within_10_percent:.0%} within 10 %, rank correlation {self.spearman:.4f}; "
            f"{self.coverage:.0%} inside the {self.confidence:.0%} interval; the machine repeats itself to "
            f"{self.noise_floor:.1%}"
        )


def check_latency(
    model: LatencyModel, rows: Rows, measured_ms: Floats, again_ms: Floats | None = None
) -> LatencyCheck:
    """Compares a model with networks it has not seen.

    Args:
        model: its fit and its intervals have seen none of ``rows``.
        rows: (n, n choices), canonical.
        measured_ms: (n,).
        again_ms: the same networks measured a second time, (n,).

    Raises:
        ValueError: no networks.
    """
    if not len(rows):
        raise ValueError("there is no measured network to check the predictions against")
    latency, upper = model.predict(rows)
    low, high = model.interval(rows)
    errors = np.abs(latency / measured_ms - 1)
    noise = np.array([]) if again_ms is None else again_ms / measured_ms - 1
    rank = float(stats.spearmanr(latency, measured_ms)[0]) if len(rows) > 2 else float("nan")
    return LatencyCheck(
        networks=len(rows),
        mape=float(errors.mean()),
        within_5_percent=float(np.mean(errors <= 0.05)),
        within_10_percent=float(np.mean(errors <= 0.10)),
        spearman=rank,
        coverage=float(np.mean((low <= measured_ms) & (measured_ms <= high))),
        upper_coverage=float(np.mean(measured_ms <= upper)),
        confidence=model.confidence,
        noise_floor=float(np.mean(np.abs(noise))) if len(noise) else float("nan"),
        # Both measurements carry the noise; a perfect prediction would meet one of them, so it is off by
        # their difference over the square root of two.
        ceiling_within_5_percent=(
            float(np.mean(np.abs(noise) / np.sqrt(2) <= 0.05)) if len(noise) else float("nan")
        ),
        predicted_ms=tuple(map(float, latency)),
        low_ms=tuple(map(float, low)),
        high_ms=tuple(map(float, high)),
        measured_ms=tuple(map(float, measured_ms)),
        again_ms=() if again_ms is None else tuple(map(float, again_ms)),
    )
