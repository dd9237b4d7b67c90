"""What each arch costs is what it costs in its fastest form."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from runners.recipe.schema import Search
from runners.stages.candidates import Candidates, latency_limit
from search_spaces.spaces.presets import preset


class Model:
    """Latencies by width, with an upper bound some share over them."""

    def __init__(self, ms: list[float], over: float) -> None:
        self.ms, self.over = np.array(ms), over

    def predict(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        latency = self.ms[rows[:, 0]]
        return latency, latency * self.over


def counts(rows: np.ndarray) -> dict[str, np.ndarray]:
    return {"macs": np.full(len(rows), 7.0), "size_bytes": np.full(len(rows), 400.0)}


ROWS = np.array([[0], [1], [2], [3]])


def test_the_fastest_form_is_told_by_its_upper_bound() -> None:
    models: Any = {
        "fp32": Model([1.0, 2.0, 3.0, np.inf], 1.1),
        "int8": Model([0.95, 1.0, np.inf, np.inf], 1.2),
    }
    costs = Candidates(models=models, lift=lambda rows: rows, analytic=counts, watts=2.0)  # type: ignore[arg-type]
    assert costs.form(ROWS) == ["fp32", "int8", "fp32", "fp32"]
    found = costs(ROWS)
    np.testing.assert_allclose(found["latency_ms"], [1.0, 1.0, 3.0, np.inf])
    np.testing.assert_allclose(found["latency_ms_upper"], [1.1, 1.2, 3.3, np.inf])
    np.testing.assert_allclose(found["size_bytes"], [400.0, 100.0, 400.0, 400.0])
    np.testing.assert_allclose(found["energy_mj"], 2 * found["latency_ms"])
    np.testing.assert_allclose(found["macs"], 7.0)
    in_int8 = costs.in_form(ROWS, "int8")
    np.testing.assert_allclose(in_int8["latency_ms"], [0.95, 1.0, np.inf, np.inf])
    np.testing.assert_allclose(in_int8["size_bytes"], 100.0)


def test_a_speed_up_over_a_network_that_cannot_run_is_refused() -> None:
    space = preset("digits", classes=10, input_shape=(1, 8, 8))
    model: Any = SimpleNamespace(latency_ms=lambda rows: np.full(len(rows), np.inf))
    with pytest.raises(ValueError, match="speedup = 2 is over the largest network, which has layers that"):
        latency_limit(space, model, Search(speedup=2), math.inf)
    assert latency_limit(space, model, Search(latency_ms=2), math.inf) == 2
    assert latency_limit(space, model, Search(latency_ms=2), 1.5) == 1.5
