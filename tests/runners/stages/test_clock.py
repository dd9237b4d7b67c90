"""The minutes that a run was given."""

from __future__ import annotations

import time

import pytest

from runners.stages.clock import Clock, check_minutes


def test_what_is_left_counts_finished_stages_and_this_process() -> None:
    clock = Clock.of(10, {"measure": 60.0}, began=time.monotonic() - 30)
    assert clock is not None
    assert clock.left_s == pytest.approx(600 - 60 - 30, abs=1)
    assert clock.training_s == pytest.approx(clock.left_s - 25, abs=1)  # of the whole
    assert Clock.of(None, {}, began=0.0) is None


def test_too_few_minutes_are_refused_with_those_that_would_do() -> None:
    with pytest.raises(ValueError, match=r"takes 20\.0 s.* 2\.2 minutes would do"):
        check_minutes(2, 20.0)
    check_minutes(2.2, 20.0)
