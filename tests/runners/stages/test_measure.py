"""The measure stage says when what it measures will not be worth much."""

from __future__ import annotations

from pathlib import Path

import pytest

from runners.console import Console
from runners.stages import measure as stage
from runners.targets.profile import load_profile
from runners.targets.target import open_device


@pytest.mark.parametrize(
    ("profile", "busy", "warned"), [("cpu-ort", 1.2, True), ("cpu-ort", 0.1, False), ("mcu", 1.2, False)]
)
def test_a_busy_machine_is_warned_of_where_it_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, profile: str, busy: float, warned: bool
) -> None:
    monkeypatch.setattr(stage, "busy_cores", lambda: busy)
    log = tmp_path / "log.txt"
    stage.warn_if_busy(open_device(load_profile(profile)), tmp_path / "mine" / "measure", Console(log))
    assert log.exists() == warned
    if warned:
        assert "keep 1.2 cores busy" in log.read_text()
        assert f"quarry measure --out {tmp_path / 'mine'}" in log.read_text()
