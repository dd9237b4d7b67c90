"""Parts that a recipe names with settings of their own reach the work: those that ship, and a user's own."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest

from nas.rules import RULES, delayed
from runners.tasks import TASKS
from tests.end_to_end.command import SMALL, Call, settings

DELAYED = """
kind = "delayed"
delay = 0.4
"""
MINE = """
kind = "mine"
share = 0.25
"""
MY_PARTS = """
import json
from pathlib import Path

from nas.rules import RULES
from nas.rules.sampling import draw, taught

@RULES.register("mine")
def mine(moment, *, share: float = 0.5):
    '''The largest, and one random subnet.'''
    with Path("seen.txt").open("a") as seen:
        seen.write(f"{share}\\n")
    return taught(moment.space, draw(moment, 1), share)
"""


def recipe(folder: Path, rule: str, first: str = "") -> str:
    """A recipe of the user's, in a folder of its own; the digits recipe with another rule."""
    folder.mkdir()
    shipped = (Path(__file__).parents[2] / "runners/recipe/digits.toml").read_text()
    (folder / "my.toml").write_text(f"{first}\n{shipped}\n[train.rule]{rule}")
    return str(folder / "my.toml")


@pytest.fixture(autouse=True)
def rules_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RULES, "_entries", dict(RULES._entries))


def test_a_setting_of_a_rule_reaches_the_training_loop(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[float, float, int]] = []

    @functools.wraps(delayed)
    def watched(moment: Any, **given: Any) -> Any:
        passes = delayed(moment, **given)
        seen.append((given["delay"], moment.progress, len(passes)))
        return passes

    RULES._entries.pop("delayed")
    RULES.add("delayed", watched)
    said = call("train", recipe(tmp_path / "mine", DELAYED), "--out", "run", *settings(*SMALL))
    assert said.code == 0, said.error
    assert {delay for delay, *_ in seen} == {0.4}
    assert {passes for _, progress, passes in seen if progress < 0.4} == {1}  # the largest alone
    assert {passes for _, progress, passes in seen if progress >= 0.4} == {4}
    kept = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert kept["train"]["rule"] == {"kind": "delayed", "delay": 0.4}


def test_a_rule_of_the_users_own_is_trained_by_and_goes_on_from_anywhere(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = recipe(tmp_path / "mine", MINE, 'parts = ["my_parts.py"]')
    (tmp_path / "mine" / "my_parts.py").write_text(MY_PARTS)
    said = call("train", mine, "--out", "run", *settings(*SMALL))
    assert said.code == 0, said.error
    assert set((tmp_path / "seen.txt").read_text().split()) == {"0.25"}
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    again = call("train", "--out", "../run", *settings("train.rule.share=0.75", "train.epochs=1"))
    assert again.code == 0, again.error
    assert set((elsewhere / "seen.txt").read_text().split()) == {"0.75"}


def test_a_task_of_the_users_own_is_what_networks_are_trained_for(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TASKS, "_entries", dict(TASKS._entries))
    task = Path(__file__).parents[1] / "runners/tasks/balanced_task.py"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "tasks.py").write_text(task.read_text().replace('"balanced"', '"fair"'))
    shipped = (Path(__file__).parents[2] / "runners/recipe/digits.toml").read_text()
    few = 'task = { kind = "fair", weights = [1, 1] }\n'
    (tmp_path / "mine" / "my.toml").write_text(f'parts = ["tasks.py"]\n{few}{shipped}')
    few_weights = call("train", "mine/my.toml", "--out", "run", *settings(*SMALL, "train.epochs=1"))
    assert few_weights.code == 1
    assert "has to tell 10 classes apart, and task.weights has 2" in few_weights.error
    wrong = call("train", "mine/my.toml", "--out", "run", *settings("task.weights=heavy", "task.wieghts=1"))
    assert "task.weights = 'heavy': Input should be a valid" in wrong.error
    assert "task.wieghts: 'fair' has no setting 'wieghts'. Did you mean 'weights'?" in wrong.error
    right = settings(*SMALL, "train.epochs=1", f"task.weights={[1.0] * 10}")
    assert call("train", "mine/my.toml", "--out", "run", *right).code == 0


def test_a_part_that_went_is_told_before_anything_is_done(call: Call, tmp_path: Path) -> None:
    mine = recipe(tmp_path / "mine", MINE, 'parts = ["my_parts.py"]')
    (tmp_path / "mine" / "my_part.py").write_text(MY_PARTS)
    said = call("train", mine, "--out", "run", *settings(*SMALL))
    assert said.code == 1
    assert f"parts: there is no file {tmp_path}/mine/my_parts.py. Did you mean 'my_part.py'?" in said.error
    assert "unknown training rule" not in said.error, (
        "what the file would have brought is not told as a mistake"
    )
    assert not (tmp_path / "run").exists()


def test_a_run_of_an_older_version_says_what_to_do(call: Call, tmp_path: Path) -> None:
    said = call(
        "train", recipe(tmp_path / "mine", DELAYED), "--out", "run", *settings(*SMALL, "train.epochs=1")
    )
    assert said.code == 0, said.error
    file = tmp_path / "run" / "recipe.json"
    older = json.loads(file.read_text())
    older["profile"] = {"hardware": "cpu-ort", "seed": None}
    del older["measure"]
    file.write_text(json.dumps(older))
    said = call("search", "--out", "run")
    assert said.code == 1
    assert (
        "run was made by an older version of Quarry, whose recipes had other keys (profile.hardware"
        in said.error
    )
    assert "report.html" in said.error
    assert "another --out" in said.error
