"""A runtime that dies costs the model it died on, and an error of Python itself is said."""

from pathlib import Path

import pytest

from runners.measuring.process import measure_apart
from runners.targets.hardware import HardwareProfile

# Stands in for a runtime: dies on a model that says so, and gives one timing a model else.
RUNTIME = """
import json, os, sys
job = json.load(open(sys.argv[1]))
contents = [open(model).read() for model in job["models"]]
if "dies" in contents:
    os.abort()
if "stops" in contents:
    raise RuntimeError("the disk is gone")
timings = [dict(median_ms=1.0, low_ms=0.9, high_ms=1.1, repeats=len(job["models"])) for _ in contents]
json.dump(timings, open(sys.argv[2], "w"))
"""


@pytest.fixture
def profile() -> HardwareProfile:
    return HardwareProfile(name="board", runtime="onnxruntime")


def files(folder: Path, *contents: str) -> list[Path]:
    """A file for each content."""
    for content in contents:
        (folder / content).write_text(content)
    return [folder / content for content in contents]


def test_a_model_that_kills_the_runtime_costs_no_other(profile: HardwareProfile, tmp_path: Path) -> None:
    models = files(tmp_path, "a", "dies", "b")
    good, dead, other = measure_apart(["-c", RUNTIME], models, profile, budget_s=1, half_width=0.1)
    assert (good.status, dead.status, other.status) == ("measured", "failed", "measured")
    assert dead.reason == "the runtime crashed (aborted) on this model"
    assert good.repeats == 1  # the rest were measured alone


def test_files_are_measured_side_by_side_and_none_takes_nothing(
    profile: HardwareProfile, tmp_path: Path
) -> None:
    models = files(tmp_path, "c", "a")
    timings = measure_apart(["-c", RUNTIME], models, profile, budget_s=1, half_width=0.1)
    assert [timing.repeats for timing in timings] == [2, 2]
    assert measure_apart(["-c", RUNTIME], [], profile, budget_s=1, half_width=0.1) == []


def test_an_error_of_python_is_said_and_not_taken_for_the_models(
    profile: HardwareProfile, tmp_path: Path
) -> None:
    with pytest.raises(OSError, match="measuring on 'board' failed: RuntimeError: the disk is gone"):
        measure_apart(["-c", RUNTIME], files(tmp_path, "stops"), profile, budget_s=1, half_width=0.1)


def test_the_time_is_shared_by_processes_and_the_usual_one_counts(
    profile: HardwareProfile, tmp_path: Path
) -> None:
    counter = tmp_path / "counter"
    unlike = f"""
import json, pathlib, sys
counter = pathlib.Path({str(counter)!r})
calls = int(counter.read_text()) if counter.exists() else 0
counter.write_text(str(calls + 1))
job = json.load(open(sys.argv[1]))
ms = [1.0, 1.3, 1.01, 1.02, 1.3][calls]
timing = dict(median_ms=ms, low_ms=ms - 0.01, high_ms=ms + 0.01, repeats=round(10 * job["budget_s"]))
json.dump([timing], open(sys.argv[2], "w"))
"""
    (timing,) = measure_apart(["-c", unlike], files(tmp_path, "a"), profile, budget_s=3.1, half_width=0.1)
    assert counter.read_text() == "5"
    assert (timing.median_ms, timing.low_ms, timing.high_ms) == (1.01, 0.99, 1.31)
    assert timing.repeats == 30  # 0.62 s each


def test_a_short_measurement_is_one_process(profile: HardwareProfile, tmp_path: Path) -> None:
    (timing,) = measure_apart(["-c", RUNTIME], files(tmp_path, "a"), profile, budget_s=0.3, half_width=0.1)
    assert timing.repeats == 1
