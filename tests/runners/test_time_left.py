"""The time left of a piece of work: after the first minute right within a factor of 1.5."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest

from runners import time_left as module
from runners.time_left import TimeLeft


def worst_factor(
    monkeypatch: pytest.MonkeyPatch, steps: Iterable[float], *, after_s: float = 60.0, start: int = 0
) -> float:
    """The largest factor between what was said and what came, from a minute on to the last ten seconds.

    Args:
        monkeypatch: sets the clock.
        steps: seconds of each step.
        after_s: seconds before which nothing is promised.
        start: steps done before.
    """
    ends = list(itertools.accumulate(steps))
    left, worst = TimeLeft(), 1.0
    for done, now in enumerate(ends, start + 1):
        monkeypatch.setattr(module.time, "monotonic", lambda now=now: 1000.0 + now)
        said, came = left.seconds(done, start + len(ends)), ends[-1] - now
        if now > after_s and came > 10:
            assert said is not None
            worst = max(worst, said / came, came / said)
    return worst


def test_steps_of_one_length_are_foretold_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    assert worst_factor(monkeypatch, [0.5] * 1000) == pytest.approx(1.0, abs=1e-6)
    assert worst_factor(monkeypatch, [45.0] * 20) == pytest.approx(1.0, abs=1e-6)


def test_a_cold_start_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that warms up for 80 seconds within the first steps."""
    assert worst_factor(monkeypatch, [40.0, 20.0, 20.0] + [0.1] * 6000, after_s=180) < 1.5


def test_a_pause_after_each_epoch_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of 0.1 s, and the scoring of watched networks after every 100: 4 s."""
    assert worst_factor(monkeypatch, ([0.1] * 99 + [4.1]) * 30) < 1.5


def test_work_that_goes_on_from_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    assert worst_factor(monkeypatch, [0.5] * 400, start=5000) == pytest.approx(1.0, abs=1e-6)


def test_a_machine_that_becomes_busy_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half as fast from the fifth minute on; what is said from the tenth on knows it."""
    assert worst_factor(monkeypatch, [0.1] * 3000 + [0.2] * 9000, after_s=600) < 1.05


def test_less_done_than_before_is_another_piece_of_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training of 100 steps of 4 s after one of 100 steps of a second."""
    left = TimeLeft()
    clock = itertools.count(100.0)
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    for done in range(1, 101):
        left.seconds(done, 100)
    clock = itertools.count(300.0, 4.0)
    assert left.seconds(1, 100) is None
    assert [left.seconds(done, 100) for done in range(2, 10)][-3:] == [4.0 * 93, 4.0 * 92, 4.0 * 91]


def test_getting_started_is_no_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that take 20 s to come up, and then do a hundredth of the work in a second."""
    left, said = TimeLeft(), []
    for now, done in ((0.0, 0), (20.0, 1), (21.0, 2), (22.0, 3), (26.0, 7)):
        monkeypatch.setattr(module.time, "monotonic", lambda now=now: 1000.0 + now)
        said.append(left.seconds(done, 100))
    assert said[:4] == [None] * 4
    assert said[4] == pytest.approx(93 * 26 / 7)


def test_nothing_done_is_no_estimate() -> None:
    left = TimeLeft()
    assert left.seconds(0, 10) is None
    assert left.seconds(0, 10) is None
