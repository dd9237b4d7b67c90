"""The time of the whole job is said before it begins, and no run ends for not knowing it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from results.files import read_json
from runners.console import Console, Told
from runners.reading.load import load_recipe
from runners.run import foretell as module
from runners.run.foretell import foretell
from runners.run.spaces import measure_plan
from tests.runners.stages.test_forecast import PACES
from tests.runners.training.test_loop import tiny_space


def made(folder: Path, told: list[Told], *settings: str) -> Any:
    recipe = load_recipe("digits", settings)
    return SimpleNamespace(
        run=SimpleNamespace(recipe=recipe),
        path=folder,
        console=Console(listener=told.append),
        target=SimpleNamespace(facts=SimpleNamespace(reachable=True)),
        given=tiny_space(),
        data=None,
        forms=("fp32",),
        plan=measure_plan(recipe),
        device=None,
        alone=False,
    )


def test_each_stage_is_said_and_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "paces_of", lambda _: PACES)
    told: list[Told] = []
    foretell(made(tmp_path, told))
    seconds = read_json(tmp_path / "forecast.json")
    assert seconds["train"] == pytest.approx(24 * (1.3 + 4 * 0.05))
    assert told[0].text.startswith("the whole job should take ")
    assert "training the supernet 36 s, searching" in told[0].text
    (tmp_path / "measure").mkdir()  # it was begun, and told
    foretell(made(tmp_path, told))
    foretell(made(tmp_path / "other", told, "minutes=5", 'search.ranking="alone"'))
    assert len(told) == 1


def test_what_cannot_be_foretold_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("no such operator")

    monkeypatch.setattr(module, "paces_of", fail)
    told: list[Told] = []
    foretell(made(tmp_path, told))
    assert told[0].text == "how long it will take is not known: RuntimeError: no such operator"
    assert not (tmp_path / "forecast.json").exists()
