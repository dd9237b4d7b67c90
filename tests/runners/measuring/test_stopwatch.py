"""Timing: drift cancels, disturbances are set aside, and one model's failure is its own."""

from collections.abc import Callable

import numpy as np
import pytest

from runners.measuring.stopwatch import interleave, settle


class Machine:
    """A clock that models advance; it can run slow for a while."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slow_between = (0.0, 0.0)

    def run(self, seconds: float) -> Callable[[], object]:
        def once() -> None:
            low, high = self.slow_between
            self.now += seconds * (3.0 if low <= self.now < high else 1.0)

        return once


def test_medians_are_exact_on_a_steady_machine() -> None:
    machine = Machine()
    timings = interleave([machine.run(0.001), machine.run(0.002)], budget_s=1, clock=lambda: machine.now)
    assert [timing.median_ms for timing in timings] == pytest.approx([1.0, 2.0])
    assert all(timing.status == "measured" and timing.repeats >= 5 for timing in timings)


def test_a_slow_stretch_changes_nothing() -> None:
    machine = Machine()
    machine.slow_between = (0.1, 0.4)
    runs = [machine.run(0.001), machine.run(0.002)]
    timings = interleave(runs, budget_s=2, half_width=0.0, clock=lambda: machine.now)
    assert [timing.median_ms for timing in timings] == pytest.approx([1.0, 2.0])


def test_it_ends_when_the_interval_is_narrow_and_when_the_budget_is_spent() -> None:
    machine, rng = Machine(), np.random.default_rng(0)

    def noisy() -> None:
        machine.now += 0.001 * rng.lognormal(sigma=1.0)

    interleave([machine.run(0.001)], budget_s=100, clock=lambda: machine.now)
    assert machine.now < 1
    start = machine.now
    interleave([noisy], budget_s=0.5, half_width=1e-6, clock=lambda: machine.now)
    assert 0.4 < machine.now - start < 1.5


def test_a_model_that_fails_costs_itself_only() -> None:
    machine = Machine()
    calls = iter(range(100))

    def breaks() -> None:
        machine.now += 0.001
        if next(calls) > 20:
            raise RuntimeError("out of memory")

    good, bad = interleave([machine.run(0.001), breaks], budget_s=1, clock=lambda: machine.now)
    assert good.status == "measured"
    assert bad.status == "failed"
    assert "out of memory" in bad.reason


def test_the_interval_holds_the_median_and_widens_with_the_spread() -> None:
    rng = np.random.default_rng(1)
    narrow, wide = settle([list(rng.normal(1, 0.01, 40)), list(rng.normal(1, 0.1, 40))])
    assert narrow.low_ms <= narrow.median_ms <= narrow.high_ms
    assert wide.high_ms - wide.low_ms > narrow.high_ms - narrow.low_ms
