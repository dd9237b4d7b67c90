"""The measure stage says when what it measures will not be worth much."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nas.costs.model.fit import MeasurePlan
from results.registry import Registry
from runners.console import Console
from runners.stages import measure as stage
from runners.targets.profile import load_profile
from runners.targets.target import open_target
from search_spaces.spaces.presets import preset


def test_the_search_predicts_from_the_table_without_a_target(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    space = preset("digits", classes=10, input_shape=(1, 8, 8), mixers=("identity",))
    profile, plan = load_profile("mcu"), MeasurePlan(fit_networks=6, check_networks=4)
    console = Console(tmp_path / "log.txt")
    found = stage.measure(
        space, open_target(profile), profile, plan, left_out=(), folder=tmp_path, console=console
    )
    rows = space.sample(50, np.random.default_rng(0))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a target was opened")

    monkeypatch.setattr(Registry, "configured", refuse)
    again = stage.fitted(space, plan, tmp_path)
    for before, after in zip(found.model.predict(rows), again.model.predict(rows), strict=True):
        np.testing.assert_array_equal(before, after)
    assert again.check == found.check


@pytest.mark.parametrize(
    ("profile", "busy", "warned"), [("cpu-ort", 1.2, True), ("cpu-ort", 0.1, False), ("mcu", 1.2, False)]
)
def test_a_busy_machine_is_warned_of_where_it_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, profile: str, busy: float, warned: bool
) -> None:
    monkeypatch.setattr(stage, "busy_cores", lambda: busy)
    log = tmp_path / "log.txt"
    stage.warn_if_busy(open_target(load_profile(profile)), tmp_path / "mine" / "measure", Console(log))
    assert log.exists() == warned
    if warned:
        assert "keep 1.2 cores busy" in log.read_text()
        assert f"quarry measure --out {tmp_path / 'mine'}" in log.read_text()
