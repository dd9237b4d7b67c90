"""What a run knows of archs without scoring them: latency by the fitted model, and counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.costs.counts.analytic import AnalyticCosts
from nas.costs.model.latency import LatencyModel
from results.precision import MIXED
from runners.recipe.schema import Search
from search_spaces.space import Rows, SearchSpace

_Floats = NDArray[np.float64]
# A weight or activation as deployed. In half precision one of the two may still have four: the safe side.
_VALUE_BYTES = {"fp32": 4, "bf16": 4, "fp16": 4, "int8": 1, MIXED: 4}  # counts know of mixed archs themselves


def latency_limit(space: SearchSpace, model: LatencyModel, recipe: Search, device_ms: float) -> float:
    """The limit in ms: as given, or the largest network's predicted latency over the speed-up wanted.

    Where the device itself has a tighter one (``device_ms``, infinite where it has none), that. The model is
    that of the target's first precision.

    Raises:
        ValueError: a speed-up over a largest network that the target cannot run.
    """
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

    A *form* is a number format that a network can be handed over in: ``fp32``, ``int8``; or the one form
    ``mixed`` of archs that say the formats of their parts. Each arch costs what
    it costs in its fastest form.

    Attributes:
        models: latency model of each form, the target's first precision first.
        lift: what makes rows of the archs those of the space that the models are of.
        analytic: counts; its bytes are those of float32.
        watts: power that the device draws; None where nobody knows.
    """

    models: Mapping[str, LatencyModel]
    lift: Callable[[Rows], Rows]
    analytic: AnalyticCosts
    watts: float | None = None

    def __call__(self, rows: Rows) -> dict[str, NDArray[np.float64]]:
        """Costs by name, (n,) each, in the form that is fastest.

        ``latency_ms_upper`` is what limits hold for, and by which the fastest is told.
        """
        return self._costs(rows, *self._fastest(rows))

    def form(self, rows: Rows) -> list[str]:
        """The form in which each arch is fastest by its upper bound; of equal ones the earlier."""
        return self._names(self._fastest(rows)[2])

    def in_form(self, rows: Rows, form: str) -> dict[str, NDArray[np.float64]]:
        """The costs of archs in one form, as those of a call."""
        chosen = np.full(len(rows), list(self.models).index(form))
        return self._costs(rows, *self.models[form].predict(self.lift(rows)), chosen)

    def _fastest(self, rows: Rows) -> tuple[_Floats, _Floats, NDArray[np.intp]]:
        """Latency and upper bound in the fastest form, and its index, (n,) each."""
        lifted = self.lift(rows)
        found = [model.predict(lifted) for model in self.models.values()]
        latency_ms, upper_ms = (np.stack(values) for values in zip(*found, strict=True))
        chosen = upper_ms.argmin(axis=0)
        each = np.arange(len(rows))
        return latency_ms[chosen, each], upper_ms[chosen, each], chosen

    def _costs(
        self, rows: Rows, latency_ms: _Floats, upper_ms: _Floats, chosen: NDArray[np.intp]
    ) -> dict[str, _Floats]:
        costs = {"latency_ms": latency_ms, "latency_ms_upper": upper_ms, **self.analytic(rows)}
        share = np.array([_VALUE_BYTES[form] / 4 for form in self.models])[chosen]
        for name in costs.keys() & {"size_bytes", "peak_memory_bytes"}:
            costs[name] = costs[name] * share
        return costs if self.watts is None else {**costs, "energy_mj": latency_ms * self.watts}

    def _names(self, chosen: NDArray[np.intp]) -> list[str]:
        names = list(self.models)
        return [names[index] for index in chosen.tolist()]
