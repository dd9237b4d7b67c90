"""What CONTRIBUTING.md shows is what works: parts from outside the project, from a recipe to the file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.end_to_end.command import quarry

PAGE = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the page, each named by its first line, and the run of its recipe."""
    folder = tmp_path_factory.mktemp("mine")
    shown = re.findall(r"```(?:python|toml)\n# (\S+)\n(.*?)```", PAGE, re.DOTALL)
    assert len(shown) >= 7
    for name, content in shown:
        (folder / name).write_text(content)
    done = quarry("run", "my.toml", folder=folder, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "runs" / "mine"


def test_parts_from_outside_go_through_a_whole_run(folder: Path) -> None:
    recipe = json.loads((folder / "recipe.json").read_text())
    assert recipe["task"] == {"kind": "balanced", "focus": 0.5}
    (log,) = (folder / "search").glob("nsga2*.jsonl")
    trials = [json.loads(line) for line in log.read_text().splitlines()]
    dilations = {value for trial in trials for name, value in trial["arch"].items() if "dilation" in name}
    assert dilations == {1, 2}, "the mixer's own choice is searched"
    found = {(name.rpartition(".")[2], value) for trial in trials for name, value in trial["arch"].items()}
    assert found >= {("channel_mixer", "mlp"), ("channel_mixer", "powers"), ("power", 1), ("power", 2)}
    steps = [json.loads(line) for line in (folder / "compress" / "steps.jsonl").read_text().splitlines()]
    assert [step["step"] for step in steps] == ["finetune", "prune"]
    assert not steps[1]["reason"].startswith("failed"), "the criterion found its gradients"
    (card,) = [json.loads(file.read_text()) for file in folder.glob("artifacts/*/card.json")]
    assert card["latency"]["runtime"].startswith("torchscript")
    assert (folder / "artifacts" / card["name"] / card["file"]).suffix == ".ts"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("train.rule.alone=2", "train.rule.alone"),
        ("train.rule.along=0.5", "alone"),
        ("space.options={atrous={dilution=[1]}}", "dilation"),
        ("space.channel_mixers=['powrs']", "powers"),
        ("space.options={powers={power=[0]}}", "space.options.powers.power"),
        ("task.focus=-1", "task.focus"),
        ("task.kind=balance", "balanced"),
        ("parts=['my_mixer.py', 'my_mothods.py']", "my_mothods.py"),
        ("compress.steps=[{kind='prune', importance='gradiant'}]", "gradient"),
    ],
)
def test_what_is_wrong_with_a_part_is_said_before_work_starts(folder: Path, change: str, said: str) -> None:
    done = quarry("run", "my.toml", "--out", "other", "--set", change, folder=folder.parents[1])
    assert done.returncode != 0
    assert said in done.stderr
    assert not (folder.parents[1] / "other").exists()
