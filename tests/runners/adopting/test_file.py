"""The file of a space: written by ``quarry space``, edited, read by runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from runners.adopting.commands import space as space_command
from runners.adopting.file import read_space_file, space_of_file
from runners.given import load_network
from runners.recipe.schema import Space
from runners.run.spaces import make_space

NET = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.deep = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)
        self.head = nn.Linear(32, 5)

    def forward(self, x):
        return self.head(torch.relu(self.deep(torch.relu(self.stem(x)))).mean((2, 3)))


def make():
    return Net()


ready = Net()
few = nn.Linear(3, 5)
number = 3


def fails():
    raise RuntimeError("no weights")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(folder: Path, *replaced: tuple[str, str]) -> Path:
    """The file that is proposed, with changes of the user's."""
    path = folder / "make.toml"
    space_command("net.py:make", input_shape="3x8x8", say=lambda _: None)
    text = path.read_text()
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return path


def test_a_proposal_is_written_read_and_makes_the_space(folder: Path) -> None:
    said: list[str] = []
    space_command("net.py:make", input_shape="3x8x8", say=said.append)
    assert said[0] == "make.toml: 2 choices, 9 networks, the largest of which is yours"
    assert said[1] == "- as it is: head: they are the network's outputs"
    text = (folder / "make.toml").read_text()
    assert '"stem.width" = [8, 12, 16]   # channels of stem' in text
    assert "# as it is: head (5 channels): they are the network's outputs" in text
    space = space_of_file(folder / "make.toml")
    assert space.names == ("stem.width", "deep.width")
    assert space.name == "make"
    assert space.input_shape({}) == (3, 8, 8)


def test_an_edited_file_is_what_counts(folder: Path) -> None:
    space = space_of_file(written(folder, ('"stem.width" = [8, 12, 16]', '"stem.width" = [3, 16]')))
    assert space.choices[0].values == (3, 16)
    path = folder / "make.toml"
    path.write_text("\n".join(line for line in path.read_text().splitlines() if "deep.width" not in line))
    assert space_of_file(path).names == ("stem.width",)


def test_a_network_without_trained_weights_is_the_same_each_time(folder: Path) -> None:
    first, second = (load_network("net.py:make") for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert load_network("net.py:ready").head.out_features == 5


def test_a_network_that_was_changed_is_looked_at_again(folder: Path) -> None:
    path = written(folder)
    space_of_file(path)
    (folder / "net.py").write_text(NET.replace("32", "48"))
    path.write_text(path.read_text().replace("[16, 24, 32]", "[16, 48]"))
    assert space_of_file(path).build({"stem.width": 8, "deep.width": 48}).head.in_features == 48  # type: ignore[union-attr]


def test_the_networks_file_is_found_from_anywhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(folder)
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert read_space_file(path).network == f"{folder}/net.py:make"
    assert make_space(Space(network=str(path)), classes=5, input_shape=(3, 8, 8)).size == 9


def test_images_of_another_size_are_refused(folder: Path) -> None:
    said = r"is for images of \(3, 8, 8\) .* the data have \(3, 9, 9\)"
    with pytest.raises(ValueError, match=said):
        make_space(Space(network=str(written(folder))), classes=5, input_shape=(3, 9, 9))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("input_shape", "input_shpe", "unknown key 'input_shpe'. Did you mean 'input_shape'"),
        ("[3, 8, 8]", "[3, 8, 0]", "input_shape is the shape of an image"),
        (
            '"stem.width" =',
            "stem.width =",
            "choices has a table 'stem'; names with dots are written in quotes",
        ),
        ("[8, 12, 16]", '["many"]', "choice 'stem.width' takes numbers"),
        ("[8, 12, 16]", "[8, 24]", "choice 'stem.width' takes 2 to 16, in steps of 1"),
        ("stem.width", "stm.width", "unknown choice 'stm.width'. Did you mean 'stem.width'"),
        ("net.py:make", "nt.py:make", "there is no file"),
        ("net.py:make", "net.py:fails", "fails: RuntimeError: no weights"),
        ("net.py:make", "net.py:number", "is a int, no network and no function"),
        ("[choices]", "[choices", "is not valid TOML"),
    ],
)
def test_what_is_wrong_in_a_file_is_said(folder: Path, old: str, new: str, said: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(said)):
        space_of_file(written(folder, (old, new)))


def test_an_edited_file_is_not_written_over(folder: Path) -> None:
    before = written(folder).read_text()
    with pytest.raises(ValueError, match=r"make.toml is there already, and may have been edited"):
        space_command("net.py:make", input_shape="3x8x8")
    assert (folder / "make.toml").read_text() == before


def test_what_the_command_cannot_do_is_said(folder: Path) -> None:
    assert folder.is_dir()
    with pytest.raises(ValueError, match="an input shape is written like 3x32x32, not '3x'"):
        space_command("net.py:make", input_shape="3x")
    with pytest.raises(ValueError, match="nothing of net.py:few can be chosen"):
        space_command("net.py:few", input_shape="3")
