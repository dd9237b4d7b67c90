"""The page on spaces out of a network: its network, file, recipe and Python, run as they stand."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from results.records import Card
from tests.end_to_end.command import quarry, settings

PAGE = (Path(__file__).parents[2] / "docs" / "space_from_network.md").read_text()
NET, IN_PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
FILE, RECIPE = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
SHORT = (
    "train.epochs=1",
    "measure.fit_networks=5",
    "measure.check_networks=3",
    "measure.seconds_each=0.02",
    "search.latency_ms=1000",
    "search.budget=8",
    'search.searchers=["random"]',
    "search.calibration_images=64",
    "search.workers=1",
    "compress.networks=1",
    'compress.steps=["finetune"]',
    "compress.recovery.epochs=1",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "my.toml").write_text(RECIPE)
    return tmp_path


def test_a_network_goes_from_its_proposal_to_a_verified_file(folder: Path) -> None:
    done = quarry("space", "net.py:make", "--input", "1x8x8", folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "make.toml").read_text() == FILE
    # Edited, so that there are few layers to measure.
    few = [line for line in FILE.splitlines() if "expansion" not in line and "kernel" not in line]
    (folder / "make.toml").write_text("\n".join(few))
    done = quarry("run", "my.toml", "--out", "run", *settings(*SHORT), folder=folder, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    (card,) = (folder / "run").glob("artifacts/*/card.json")
    arch = Card.from_json(json.loads(card.read_text())).arch
    assert set(arch) == {"0.width", "1.width", "1.depth"}


def test_the_python_of_the_page_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(folder))
    names: dict[str, object] = {}
    exec(compile(IN_PYTHON, "space_from_network.md", "exec"), names)
    assert names["space"].size == 4  # type: ignore[attr-defined]


def test_a_recipe_that_names_no_such_file_says_so(folder: Path) -> None:
    done = quarry("run", "my.toml", "--out", "run", folder=folder)
    assert done.returncode == 1
    assert "space.network: " in done.stderr
    assert "make.toml" in done.stderr
    (folder / "make.toml").write_text(FILE.replace("4, 6, 8", "4, 6, 9"))
    done = quarry("run", "my.toml", "--out", "run", folder=folder)
    assert "choice '0.width' takes 2 to 8, in steps of 1 (the network has 8), not 9" in done.stderr
    (folder / "make.toml").write_text(FILE.replace("net.py:make", "net.py:mke"))
    done = quarry("run", "my.toml", "--out", "run", *settings("space.mixers=['x']"), folder=folder)
    assert "has no 'mke'. Did you mean 'make'?" in done.stderr
    assert "space.mixers: this is for presets; the file of space.network chooses its own" in done.stderr
