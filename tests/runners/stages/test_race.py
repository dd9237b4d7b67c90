"""Who starts a race, and how its time is divided."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.records import Scouted
from runners.stages.clock import Clock, check_minutes
from runners.stages.race import starters


def candidates(n: int) -> list[Scouted]:
    """n networks, those with more multiply-accumulates first."""
    common: dict[str, Any] = {
        "precision": "int8",
        "latency_ms": 1.0,
        "low_ms": 1.0,
        "high_ms": 1.0,
        "params": 1,
    }
    return [Scouted(arch={"width": place}, macs=n - place, **common) for place in range(n)]


@given(st.integers(1, 40), st.integers(1, 40))
def test_as_many_start_as_are_wanted_and_there_are_each_once(known: int, wanted: int) -> None:
    found = starters(candidates(known), wanted)
    assert len(found) == min(known, wanted)
    assert len({one.macs for one in found}) == len(found)


def test_half_of_the_starters_are_the_likeliest_and_the_others_are_spread() -> None:
    places = [int(one.arch["width"]) for one in starters(candidates(24), 6)]
    assert places[:3] == [0, 1, 2]
    assert places[3:] == sorted(places[3:])
    assert places[3] < 9
    assert places[-1] > 18


def test_what_is_left_counts_finished_stages_and_this_process() -> None:
    clock = Clock.of(10, {"measure": 60.0}, began=time.monotonic() - 30)
    assert clock is not None
    assert clock.left_s == pytest.approx(600 - 60 - 30, abs=1)
    assert clock.training_s == pytest.approx(clock.left_s - 30, abs=1)  # a twentieth of the whole
    assert Clock.of(None, {}, began=0.0) is None


def test_too_few_minutes_are_refused_with_those_that_would_do() -> None:
    with pytest.raises(ValueError, match=r"takes 20\.0 s.* 2\.2 minutes would do"):
        check_minutes(2, 20.0)
    check_minutes(2.2, 20.0)
