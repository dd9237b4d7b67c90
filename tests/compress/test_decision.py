"""Whether a step is kept, and why in words."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from compress.decision import (
    Comparison,
    choose,
    decide_by_accuracy,
    decide_by_size,
    decide_by_speed,
    is_faster,
)
from tests.compress.targets import around


def compared(
    before: float, after: float, accuracy_before: float = 0.9, accuracy_after: float = 0.9
) -> Comparison:
    return Comparison(
        before=around(before),
        after=around(after),
        accuracy_before=accuracy_before,
        accuracy_after=accuracy_after,
        size_before=1000,
        size_after=900,
    )


def test_where_the_size_counts_slower_files_are_kept_if_they_are_smaller_and_accurate_enough():
    by_size = partial(decide_by_size, best_accuracy=0.9, tolerance=0.01)
    slower = compared(1.0, 2.0)
    assert by_size(slower).kept
    assert by_size(slower).reason == "smaller (1,000 to 900 bytes) and accurate enough (90.00% to 90.00%)"
    assert not by_size(replace(slower, size_after=1000)).kept
    assert "2.00 points below the best" in by_size(compared(1.0, 2.0, accuracy_after=0.88)).reason
    smallest = [slower, replace(slower, size_after=800), replace(compared(1.0, 0.1), size_after=850)]
    assert choose(smallest, [by_size(one) for one in smallest], for_speed=True, by_size=True) == 1


LIMITS = {"best_accuracy": 0.9, "tolerance": 0.01, "noise": 0.02}


def test_faster_means_beyond_interval_and_noise():
    assert is_faster(around(1.0), around(0.9), 0.02)
    assert not is_faster(around(1.0, 0.2), around(0.9, 0.2), 0.02)  # the intervals overlap
    assert not is_faster(around(1.0, 0.001), around(0.99, 0.001), 0.02)  # below the noise
    assert not is_faster(around(1.0), around(1.1), 0.02)


@pytest.mark.parametrize(
    ("one", "kept", "reason"),
    [
        (compared(1.0, 0.5), True, "2.00 times as fast (1.000 to 0.500 ms)"),
        (compared(1.0, 0.5, accuracy_after=0.89), True, "accurate enough (90.00% to 89.00%)"),
        (compared(1.0, 0.5, accuracy_after=0.88), False, "2.00 points below the best, 1.00 are allowed"),
        (compared(1.0, 1.0), False, "no faster beyond the noise: 1.000 ms [0.990, 1.010] before"),
        (compared(1.0, 1.5), False, "slower: "),
    ],
)
def test_a_step_for_speed_says_why(one, kept, reason):
    decision = decide_by_speed(one, **LIMITS)
    assert decision.kept is kept
    assert reason in decision.reason


@pytest.mark.parametrize(
    ("after", "accuracy", "kept"),
    [(0.95, 0.9, True), (1.05, 0.9, False), (0.95, 0.88, False)],
)
def test_where_it_need_not_be_certain_the_medians_decide(after: float, accuracy: float, kept: bool) -> None:
    one = replace(
        compared(1.0, after, accuracy_after=accuracy), before=around(1.0, 0.2), after=around(after, 0.2)
    )
    assert not decide_by_speed(one, **LIMITS).kept
    assert decide_by_speed(one, **LIMITS, certain=False).kept == kept


def test_losses_add_up_against_the_best_network():
    one = compared(1.0, 0.5, accuracy_before=0.895, accuracy_after=0.887)  # 0.8 points here, 1.3 in all
    assert not decide_by_speed(one, **LIMITS).kept


def test_a_step_for_accuracy_needs_more_of_it():
    assert decide_by_accuracy(compared(1.0, 1.0, 0.9, 0.91)).reason == "more accurate: 90.00% to 91.00%"
    assert not decide_by_accuracy(compared(1.0, 0.5, 0.9, 0.9)).kept


def test_the_fastest_acceptable_candidate_is_chosen_and_accuracy_breaks_ties():
    several = [
        compared(1.0, 0.3, accuracy_after=0.5),
        compared(1.0, 0.5, accuracy_after=0.895),
        compared(1.0, 0.51, accuracy_after=0.9),
        compared(1.0, 0.7, accuracy_after=0.9),
    ]
    decisions = [decide_by_speed(one, **LIMITS) for one in several]
    assert [decision.kept for decision in decisions] == [False, True, True, True]
    assert choose(several, decisions, for_speed=True) == 2
    assert choose(several[:1], decisions[:1], for_speed=True) == 0  # reported, not kept
    assert choose([], [], for_speed=True) is None
