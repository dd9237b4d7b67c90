"""Trainings that go wrong, and what their user is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load

from results.files import read_lines
from tests.end_to_end.command import Call, Said, settings

ODD = """
from torch import nn
from search_spaces.choice import Choice
from search_spaces.space import SearchSpace

class Odd(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.width = width

    def forward(self, x):
        return ANSWER

def make(classes, input_shape):
    def build(arch):
        width = arch["width"]
        layers = nn.Linear(64, width), nn.ReLU(), nn.Linear(width, classes)
        return nn.Sequential(nn.Flatten(), *layers, Odd(width))
    widths = Choice("width", (8, 12, 16, 20, 24, 32, 48, 64))
    return SearchSpace("odd", [widths], build, input_shape=input_shape)
"""


@pytest.fixture
def odd(call: Call, tmp_path: Path) -> Call:
    """Trains networks whose output ``x`` is made into something else."""

    def train(answer: str, epochs: int = 2) -> Said:
        (tmp_path / "odd.py").write_text(ODD.replace("ANSWER", answer))
        changed = settings("space.module=odd.py:make", f"train.epochs={epochs}", "train.warmup_epochs=0")
        little = settings("measure.profile=mcu", "measure.fit_networks=5", "measure.check_networks=3")
        return call("train", "digits", "--out", "run", *changed, *little)

    return train


def test_a_bigger_subnet_that_does_worse_is_told_in_people_s_words(
    call: Call, odd: Call, tmp_path: Path
) -> None:
    assert odd("x if self.training or self.width < 64 else -x").code == 0
    (log,) = tmp_path.glob("run/log.txt")
    told = "epoch 2: the largest subnet (4.74 k MACs) does worse than the "
    assert told in log.read_text()
    assert "random0" not in log.read_text()
    assert call("report", "--out", "run").code == 0
    assert told[1:] in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            "x / 0 if self.training and self.width == 64 else x",
            ["the loss is nan at step 17 for arch {'width': 64}", "The last good state is run/train/checkp"],
        ),
        (
            "x if self.training or self.width > 8 else x / 0",
            [
                "after epoch 2 the smallest subnet (592 MACs) cannot be scored",
                "{'width': 8}",
                "not all finite",
            ],
        ),
    ],
    ids=["loss", "score"],
)
def test_what_is_not_finite_is_told_with_the_arch_and_a_command_that_goes_on(
    call: Call, odd: Call, tmp_path: Path, answer: str, words: list[str]
) -> None:
    history = tmp_path / "run" / "train" / "history.jsonl"
    stopped = odd(f"x / (not (self.training and __import__('os').path.exists('{history}')))")
    assert stopped.code == 1  # after the first of two epochs
    assert "at step 17" in stopped.error
    said = odd(answer)
    assert said.code == 1
    again = "quarry train --out run --set train.learning_rate=0.001"
    for word in [*words, again]:
        assert word in said.error
    (tmp_path / "odd.py").write_text(ODD.replace("ANSWER", "x"))
    assert call(*again.split()[1:]).code == 0
    assert [line["epoch"] for line in read_lines(tmp_path / "run" / "train" / "history.jsonl")] == [0, 1]
    assert (tmp_path / "run" / "earlier" / "1" / "train" / "checkpoint.safetensors").exists()


def test_a_training_begun_again_writes_its_own_history(odd: Call, tmp_path: Path) -> None:
    assert odd("x").code == 0
    place = tmp_path / "run" / "train"
    (place / "checkpoint.safetensors").unlink()  # as messages about a checkpoint advise
    (tmp_path / "run" / "stages.json").write_text("{}")
    before = [line["loss"] for line in read_lines(place / "history.jsonl")]
    assert odd("x / 2").code == 0  # the user's code was changed, which is why
    after = [line["loss"] for line in read_lines(place / "history.jsonl")]
    assert len(after) == 2
    assert before != after
    (place / "checkpoint.safetensors").write_bytes(b"")
    (place / "history.jsonl").write_text("[]\n")
    (tmp_path / "run" / "stages.json").write_text("{}")
    said = odd("x")
    assert said.code == 1
    assert "history.jsonl is damaged" in said.error


def test_a_damaged_supernet_is_made_again_from_the_checkpoint(call: Call, odd: Call, tmp_path: Path) -> None:
    assert odd("x").code == 0
    supernet = tmp_path / "run" / "train" / "supernet.safetensors"
    before = load(supernet.read_bytes())
    supernet.write_bytes(supernet.read_bytes()[:700])
    said = call("audit", "--out", "run", "--networks", "4", "--set", "audit.workers=1")
    assert said.code == 1
    assert "supernet.safetensors is damaged or no supernet" in said.error
    assert "delete it and train again" in said.error
    supernet.unlink()
    assert "quarry train --out run" in call("audit", "--out", "run").error
    assert call("train", "--out", "run").code == 0
    after = load(supernet.read_bytes())
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert not (tmp_path / "run" / "earlier").exists()


@pytest.mark.parametrize(
    ("command", "setting", "words"),
    [
        ("train", "train.resolutions=[7]", "7 does not run through"),
        ("train", "train.rule=sandwhich", "Did you mean 'sandwich'"),
        ("train", "data.source=nowhere", "nowhere"),
        ("audit", "audit.networks=30", "holds only 8 networks"),
    ],
)
def test_a_setting_that_is_refused_leaves_what_was_made(
    call: Call, odd: Call, tmp_path: Path, command: str, setting: str, words: str
) -> None:
    assert odd("x", epochs=1).code == 0
    audit = [
        "audit",
        "--out",
        "run",
        "--networks",
        "4",
        *settings("audit.workers=1", "audit.finetune_epochs=0"),
    ]
    assert call(*audit).code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*.json*")}
    said = call(command, "--out", "run", *settings(setting))
    assert said.code == 1
    assert words in said.error
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*.json*")} == before
