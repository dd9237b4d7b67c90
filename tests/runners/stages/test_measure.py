"""The profile stage says when what it measures will not be worth much."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from runners.run.job import Job
from runners.stages import measure as stage


@pytest.mark.parametrize(
    ("backend", "busy", "warned"),
    [("onnxruntime", 1.2, True), ("onnxruntime", 0.1, False), ("remote", 1.2, False)],
)
def test_a_busy_machine_is_warned_of_where_it_is_measured(
    monkeypatch: pytest.MonkeyPatch, backend: str, busy: float, warned: bool
) -> None:
    monkeypatch.setattr(stage, "busy_cores", lambda: busy)
    said: list[str] = []
    job = SimpleNamespace(
        profile=SimpleNamespace(backend=backend),
        recipe=SimpleNamespace(measure=SimpleNamespace(ray_address="")),
        imported=None,
        console=SimpleNamespace(warn=said.append),
        path=Path("runs/mine"),
    )
    stage._warn_if_busy(cast(Job, job))
    assert bool(said) == warned
    if warned:
        assert "keep 1.2 cores busy" in said[0]
        assert "quarry profile --out runs/mine" in said[0]
