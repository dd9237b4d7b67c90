"""Networks near the limit are found by measuring few, and only those that meet it are handed on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from results.records import Scouted
from results.timing import Timing
from runners.console import Console
from runners.recipe.schema import Search
from runners.stages.scout import (
    SCOUTED,
    Scouting,
    scout_limit,
    scout_sizes,
    scouted,
    scouted_limit,
    using_limit,
)
from runners.targets.hardware import Limits
from search_spaces.choice import Choice
from search_spaces.space import Arch, SearchSpace


def build(arch: Arch) -> nn.Module:
    width = int(arch["width"])
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.Flatten(), nn.Linear(36 * width, 10))


SPACE = SearchSpace("scouted", [Choice("width", tuple(range(2, 202, 4)))], build=build, input_shape=(3, 8, 8))


class Device:
    """A device on which a network takes a millisecond a channel; in int8, 5 and a third of that."""

    def __init__(self, refuses: Any = lambda width, precision: False) -> None:
        self.facts = SimpleNamespace(
            computed=False, format="onnx", profile="device", precisions=("fp32", "int8")
        )
        self.measured: list[str] = []
        self._refuses = refuses

    def export(self, network: Any, _shape: Any, path: Path, *, precision: str = "fp32") -> None:
        width = network[0].out_channels
        if self._refuses(width, precision):
            raise ValueError("too wide")
        path.write_text(str(width if precision == "fp32" else 5 + width / 3))
        self.measured.append(f"{precision} {width}")

    def measure(self, files: Sequence[Path], **_: float) -> list[Timing]:
        return [Timing(ms, ms * 0.99, ms * 1.01, repeats=9) for ms in (float(f.read_text()) for f in files)]


def scouting(device: Device, folder: Path, **changed: Any) -> Scouting:
    parts: dict[str, Any] = {
        "space": SPACE,
        "target": device,
        "precisions": ("fp32", "int8"),
        "limits": Limits(),
        "networks": 6,
        "seconds": 60.0,
        "seed": 0,
        "folder": folder,
        "console": Console(None),
    }
    return Scouting(**{**parts, **changed})


def width(one: Scouted) -> int:
    return int(one.arch["width"])


def test_networks_that_use_the_limit_are_found_in_their_fastest_format(tmp_path: Path) -> None:
    work = scouting(Device(), tmp_path)
    scout_sizes(work)
    near = scout_limit(work, 40.0)
    assert len(near) >= 6
    assert {one.precision for one in near} == {"int8"}
    assert all(0.7 * 40 <= 5 + width(one) / 3 <= 0.98 * 40 for one in near)
    assert [one.macs for one in near] == sorted((one.macs for one in near), reverse=True)
    assert len(scouted(tmp_path)) < 2 * 45  # of 50 networks in two formats


def test_the_faster_format_may_be_the_plain_one(tmp_path: Path) -> None:
    work = scouting(Device(), tmp_path, networks=2)
    scout_sizes(work)
    assert {one.precision for one in scout_limit(work, 6.0)} == {"fp32"}


def test_what_was_measured_is_read_and_serves_another_limit(tmp_path: Path) -> None:
    scout_sizes(scouting(Device(), tmp_path))
    scout_limit(scouting(Device(), tmp_path), 40.0)
    again = Device()
    scout_sizes(scouting(again, tmp_path))
    scout_limit(scouting(again, tmp_path), 40.0)
    assert again.measured == []
    other = Device()
    assert scout_limit(scouting(other, tmp_path), 20.0)
    names = [one.arch["width"] for one in scouted(tmp_path) if one.precision == "fp32"]
    assert len(names) == len(set(names))  # none was measured twice


def test_an_impossible_limit_is_told_with_the_fastest_there_is(tmp_path: Path) -> None:
    work = scouting(Device(), tmp_path)
    scout_sizes(work)
    with pytest.raises(ValueError, match=r"under 0\.5 ms.* the fastest takes 2 ms"):
        scout_limit(work, 0.5)


def test_a_network_that_cannot_be_exported_costs_itself(tmp_path: Path) -> None:
    device = Device(refuses=lambda width, precision: precision == "int8" and width > 50)
    work = scouting(device, tmp_path)
    scout_sizes(work)
    near = scout_limit(work, 40.0)
    assert all(one.precision == "fp32" or width(one) <= 50 for one in near)
    assert any(one.reason == "ValueError: too wide" for one in scouted(tmp_path))


def test_a_target_that_runs_nothing_is_told_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no network of the space runs on device: ValueError: too wide"):
        scout_sizes(scouting(Device(refuses=lambda width, precision: True), tmp_path))


def test_a_space_that_is_faster_than_the_limit_gives_all_it_has(tmp_path: Path) -> None:
    work = scouting(Device(), tmp_path, networks=4)
    scout_sizes(work)
    near = scout_limit(work, 10_000.0)
    assert width(near[0]) == 198


def test_limits_of_the_device_hold(tmp_path: Path) -> None:
    work = scouting(Device(), tmp_path, limits=Limits(params=10_000))
    scout_sizes(work)
    assert all(one.params <= 10_000 or width(one) == 198 for one in scouted(tmp_path))


def test_a_speed_up_is_over_the_largest_network_that_was_measured(tmp_path: Path) -> None:
    work = scouting(Device(), tmp_path)
    scout_sizes(work)
    found = scouted(tmp_path)
    assert scouted_limit(Search(speedup=4), math.inf, SPACE, found) == 198 / 4
    assert scouted_limit(Search(speedup=3), 20.0, SPACE, found) == 20
    with pytest.raises(ValueError, match="largest network, which does not run"):
        scouted_limit(Search(speedup=4), math.inf, SPACE, [])


def test_files_of_the_scouting_are_read_whole(tmp_path: Path) -> None:
    (tmp_path / SCOUTED).write_text('{"arch": {"width": 3}}\n')
    with pytest.raises(ValueError, match="precision"):
        using_limit(scouted(tmp_path), 1.0)


@pytest.mark.parametrize("kept", [1, 7, 16])
def test_networks_that_a_kill_left_out_are_measured(tmp_path: Path, kept: int) -> None:
    scout_sizes(scouting(Device(), tmp_path))
    whole = {(width(one), one.precision) for one in scouted(tmp_path)}
    lines = (tmp_path / SCOUTED).read_text().splitlines(keepends=True)
    (tmp_path / SCOUTED).write_text("".join(lines[:kept]) + lines[kept][:9])
    scout_sizes(scouting(Device(), tmp_path))
    assert {(width(one), one.precision) for one in scouted(tmp_path)} == whole


def test_a_format_that_no_step_makes_any_more_is_not_handed_on(tmp_path: Path) -> None:
    scout_limit(scouting(Device(), tmp_path), 40.0)
    near = scout_limit(scouting(Device(), tmp_path, precisions=("fp32",)), 40.0)
    assert {one.precision for one in near} == {"fp32"}
    assert all(width(one) <= 40 for one in near)
    assert {one.precision for one in scout_limit(scouting(Device(), tmp_path), 40.0)} == {"int8"}


def test_a_limit_between_two_networks_does_not_make_the_space_small(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    space = SearchSpace("gap", [Choice("width", (2, 200))], build=build, input_shape=(3, 8, 8))
    scout_limit(scouting(Device(), tmp_path, space=space, console=Console(log)), 40.0)
    assert "no network was found that uses 70% or more of the limit" in log.read_text()


def test_networks_of_a_space_that_was_narrowed_since_are_passed_over(tmp_path: Path) -> None:
    scout_sizes(scouting(Device(), tmp_path))
    narrow = SearchSpace("narrow", [Choice("width", (2, 30, 90))], build=build, input_shape=(3, 8, 8))
    near = scout_limit(scouting(Device(), tmp_path, space=narrow), 40.0)
    assert {width(one) for one in near} == {90}
