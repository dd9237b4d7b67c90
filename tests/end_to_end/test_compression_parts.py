"""Steps and criteria from a module of the user's own compress the networks of a whole run."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.pruning.importance import CRITERIA
from compress.steps import STEPS
from results.files import read_lines
from tests.end_to_end.command import SMALL, Call, settings

STEPS_OF_THE_RECIPE = """
[[compress.steps]]
kind = "prune"
keep = [0.75, 0.5]
counts = 4
importance = { kind = "my_gradient", power = 2.0 }

[[compress.steps]]
kind = "my_broken"

[[compress.steps]]
kind = "prune"
keep = 0.5
counts = 4
importance = "taylor"
allocation = "global"

[[compress.steps]]
kind = "quantize_aware"
operators = ["convolutions"]
epochs = 1

[[compress.steps]]
kind = "quantize"
"""
MY_PARTS = """
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from compress.pruning.importance import CRITERIA
from compress.steps import STEPS


@CRITERIA.register("my_gradient", needs={"gradients"})
def my_gradient(group, *, power: float = 1.0, seed: int = 0):
    '''Gradients of the weights that make each channel.'''
    gradient = group[0].dep.target.module.weight.grad
    with Path("seen.txt").open("a") as seen:
        seen.write(f"{power} {seed} {gradient.abs().sum() > 0}\\n")
    return gradient.flatten(1).abs().sum(1) ** power


@STEPS.register("my_broken")
@dataclass(frozen=True, kw_only=True)
class MyBroken:
    '''A step that fails in its own way.'''

    for_speed: ClassVar[bool] = True

    def propose(self, current, context, folder):
        return [1 / len(())]
"""
TINY = (
    *SMALL,
    "measure.profile=mcu",
    "search.workers=1",
    "search.latency_ms=1000",
    "train.epochs=1",
    "compress.tolerance=0.9",  # whatever is faster is kept
    "compress.goal='fastest'",  # every step is tried, though all files are within the limit
)


@pytest.fixture(autouse=True)
def parts_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    for parts in (CRITERIA, STEPS):
        monkeypatch.setattr(parts, "_entries", dict(parts._entries))


def test_a_criterion_that_needs_gradients_prunes_in_a_run(call: Call, tmp_path: Path) -> None:
    shipped = (Path(__file__).parents[2] / "runners/recipe/digits.toml").read_text()
    (tmp_path / "my.toml").write_text(f'parts = ["my_parts.py"]\n{shipped}\n{STEPS_OF_THE_RECIPE}')
    (tmp_path / "my_parts.py").write_text(MY_PARTS)
    said = call("run", "my.toml", "--out", "run", *settings(*TINY), "--seed", "3")
    assert said.code == 0, said.error
    assert set((tmp_path / "seen.txt").read_text().splitlines()) == {"2.0 3 True"}
    steps = {line["step"]: line for line in read_lines(tmp_path / "run" / "compress" / "steps.jsonl")}
    assert list(steps) == ["prune", "my_broken", "prune-2", "quantize_aware", "quantize"]
    assert steps["my_broken"]["reason"] == "failed: division by zero (ZeroDivisionError)"
    for name in ("prune", "prune-2"):
        assert steps[name]["macs_after"] < steps[name]["macs_before"], steps[name]["reason"]
    assert steps["quantize_aware"]["kept"], steps["quantize_aware"]["reason"]
    assert steps["quantize"]["reason"] == "the file is int8 already"
    assert list((tmp_path / "run" / "artifacts").glob("*/card.json"))


def test_what_is_wrong_with_steps_is_said_before_any_work(call: Call, tmp_path: Path) -> None:
    steps = '[{ kind = "prune", keep = 1.5 }, { kind = "prune", importance = "tailor" }, "squeeze"]'
    wrong = f"compress.steps={steps}"
    said = call("run", "digits", "--out", "run", *settings(*TINY, wrong))
    assert said.code == 1
    assert "compress.steps.prune.keep = 1.5: Input should be less than 1" in said.error
    assert "unknown importance 'tailor'. Did you mean 'taylor'?" in said.error
    assert "unknown compression step 'squeeze'" in said.error
    assert not (tmp_path / "run").exists()
