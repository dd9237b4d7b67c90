"""What a goal asks of a file, and which file answers it."""

from __future__ import annotations

import pytest

from runners.compressing.goal import Figures, Goal


def file(latency_ms: float, size_bytes: int, accuracy: float) -> Figures:
    return Figures(latency_ms=latency_ms, size_bytes=size_bytes, accuracy=accuracy)


FILES = {
    "whole": file(4.0, 4_000_000, 0.90),
    "half": file(2.0, 1_000_000, 0.89),
    "half-int8": file(1.5, 260_000, 0.885),
    "quarter": file(1.0, 300_000, 0.80),
}


@pytest.mark.parametrize(
    ("goal", "answer"),
    [
        (Goal(speedup=2), "half"),
        (Goal(latency_ms=1.6), "half-int8"),
        (Goal(size_mb=0.3), "half-int8"),
        (Goal(accuracy_drop=1.0), "half"),  # the fastest of those that are accurate enough
        (Goal(accuracy_drop=0), "whole"),
        (Goal(speedup=4, accuracy_drop=20), "quarter"),
        (Goal(latency_ms=100), "whole"),
    ],
)
def test_the_answer_is_the_most_accurate_file_that_meets_the_goal(goal: Goal, answer: str) -> None:
    limits = goal.limits(FILES["whole"])
    assert limits.answer(FILES) == answer
    assert not limits.missed(FILES[answer])


def test_where_none_meets_the_goal_it_is_the_nearest_and_says_what_it_misses() -> None:
    limits = Goal(speedup=8).limits(FILES["whole"])
    assert limits.answer(FILES) == "quarter"
    assert limits.missed(FILES["quarter"]) == ("it takes 1 ms a call, over 0.5 ms",)
    limits = Goal(accuracy_drop=0.5, size_mb=2).limits(FILES["whole"])
    assert limits.answer(FILES) == "half"
    assert limits.missed(FILES["half"]) == ("its accuracy of 89.00% is under 89.50%",)


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        ({}, "say what the file has to be"),
        ({"speedup": 1.0}, "speedup has to be more than 1, got 1"),
        ({"latency_ms": 0.0}, "latency_ms has to be more than 0, got 0"),
        ({"size_mb": float("nan")}, "size_mb has to be more than 0, got nan"),
        ({"accuracy_drop": -1.0}, "accuracy_drop has to be at least 0, got -1"),
        ({"latency_ms": 1.0, "speedup": 2.0}, "give one of them"),
    ],
)
def test_a_goal_that_makes_no_sense_is_refused(wanted: dict[str, float], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Goal(**wanted)
