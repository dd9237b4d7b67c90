"""What a run knows of archs without scoring them: latency by the fitted model, and counts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.costs.counts.analytic import AnalyticCosts
from nas.costs.model.latency import LatencyModel
from runners.recipe.schema import Search
from runners.targets.hardware import Limits
from search_spaces.space import Rows, SearchSpace


def latency_limit(space: SearchSpace, model: LatencyModel, recipe: Search, limits: Limits) -> float:
    """The limit in ms: as given, or the largest network's predicted latency over the speed-up wanted.

    Where the device itself has a tighter one, that.

    Raises:
        ValueError: a speed-up over a largest network that the target cannot run.
    """
    device_ms = limits.latency_ms or math.inf
    if recipe.latency_ms is not None:
        return min(recipe.latency_ms, device_ms)
    assert recipe.speedup is not None  # the recipe has one of the two
    largest = space.to_row(space.largest())[None]
    largest_ms = float(model.latency_ms(largest)[0])
    if not math.isfinite(largest_ms):
        raise ValueError(
            f"search.speedup = {recipe.speedup:g} is over the largest network, which has layers that the "
            "profile rules out: give search.latency_ms instead, or a space without them"
        )
    return min(largest_ms / recipe.speedup, device_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """What is known of archs without scoring them.

    Attributes:
        model: latency model.
        analytic: counts; its bytes are those of float32.
        value_bytes: bytes of a weight or activation as deployed: 1 where the device runs int8 alone.
        watts: power that the device draws; None where nobody knows.
    """

    model: LatencyModel
    analytic: AnalyticCosts
    value_bytes: int = 4
    watts: float | None = None

    def __call__(self, rows: Rows) -> dict[str, NDArray[np.float64]]:
        """Costs by name, (n,) each; ``latency_ms_upper`` is what limits hold for."""
        latency_ms, upper_ms = self.model.predict(rows)
        costs = {"latency_ms": latency_ms, "latency_ms_upper": upper_ms, **self.analytic(rows)}
        for name in costs.keys() & {"size_bytes", "peak_memory_bytes"}:
            costs[name] = costs[name] * self.value_bytes / 4
        return costs if self.watts is None else {**costs, "energy_mj": latency_ms * self.watts}
