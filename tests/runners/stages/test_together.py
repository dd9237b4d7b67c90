"""Figures that are compared are of one measurement; where an earlier one disagrees, it is said."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from results.timing import Timing
from runners.console import Console
from runners.stages.together import disagree, measured_together
from tests.compress.targets import around

FILES = [Path("a"), Path("largest")]


class Device:
    """Takes these for the largest network, measurement by measurement, and half of it for the other."""

    def __init__(self, *largest_ms: float) -> None:
        self.largest_ms, self.asked = list(largest_ms), 0

    def measure(self, files: list[Path], *, budget_s: float) -> list[Timing]:
        assert files == FILES
        assert budget_s > 0
        self.asked += 1
        ms = self.largest_ms.pop(0)
        return [around(ms / 2), around(ms)]


def before(ms: float) -> Any:
    return SimpleNamespace(name="largest", measured_ms=ms, low_ms=ms - 0.01, high_ms=ms + 0.01)


@pytest.mark.parametrize(
    ("now", "then", "apart"), [(1.0, 1.0, False), (1.05, 1.0, False), (2.2, 1.0, True), (1.0, 2.2, True)]
)
def test_what_differs_beyond_intervals_and_noise_disagrees(now: float, then: float, apart: bool) -> None:
    assert disagree(around(now), before(then)) is apart


def test_wide_intervals_do_not_disagree() -> None:
    assert not disagree(around(2.0, width_ms=4.0), before(1.0))


@pytest.mark.parametrize(
    ("largest_ms", "asked", "taken", "earlier"),
    [
        ([1.0], 1, 1.0, None),
        ([2.2, 1.0], 2, 1.0, None),  # other programs, during the first
        ([2.2, 2.1], 2, 2.1, 1.0),
        ([2.2, 2.3], 2, 2.2, 1.0),
    ],
)
def test_a_disagreement_is_measured_again_and_said_where_it_stays(
    largest_ms: list[float], asked: int, taken: float, earlier: float | None, tmp_path: Path
) -> None:
    device: Any = Device(*largest_ms)
    timings, known = measured_together(device, FILES, before(1.0), Console(tmp_path / "log.txt"))
    assert (device.asked, known) == (asked, earlier)
    assert [one.median_ms for one in timings] == [taken / 2, taken], "both of one measurement"
    said = (tmp_path / "log.txt").read_text() if earlier else ""
    assert ("the largest network takes" in said) is bool(earlier)


def test_without_an_earlier_measurement_there_is_one() -> None:
    device: Any = Device(5.0)
    assert measured_together(device, FILES, None, Console())[1] is None
    assert device.asked == 1
