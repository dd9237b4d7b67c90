"""The commands that someone begins with: help that is no error, lists, and a recipe for own data."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.main import get_command

from runners.cli import app as cli
from runners.cli.headings import HEADINGS
from runners.console import Console
from runners.data.load import load_data
from runners.data.look import look_at
from runners.reading.draft import draft, input_size, warnings
from runners.reading.load import load_recipe
from runners.recipe.shipped import recipe_names
from search_spaces.spaces.preset_sizes import SIZES, counted, preset_for, space_of
from search_spaces.spaces.presets import PRESETS

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs the command in this process, in a folder of its own; code, output and error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["quarry", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        said = capsys.readouterr()
        return int(str(stop.value.code)), said.out, said.err

    return run


def test_a_reader_who_leaves_early_sees_no_traceback() -> None:
    command = [sys.executable, "-c", "from runners.cli.app import main; main()"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout
        assert running.stderr
        running.stdout.close()
        assert running.stderr.read() == ""
    assert running.returncode == 141


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of colour photos of 60x90, 24 of one class and 6 of another."""
    rng = np.random.default_rng(0)
    for name, count in (("cat", 6), ("dog", 24)):
        place = tmp_path / "my photos" / "train" / name
        place.mkdir(parents=True)
        for i in range(count):
            Image.fromarray(rng.integers(0, 255, (60, 90, 3), dtype=np.uint8)).save(place / f"{i}.png")
    return tmp_path / "my photos"


@pytest.mark.parametrize("words", [(), ("table",)])
def test_without_a_command_help_is_shown_and_nothing_is_wrong(say: Say, words: tuple[str, ...]) -> None:
    code, out, err = say(*words)
    assert (code, err) == (0, "")
    assert out.startswith("Usage:")


def test_every_command_stands_once_in_the_help_and_those_to_begin_with_first(say: Say) -> None:
    _, out, _ = say("--help")
    listed = re.findall(r"^  ([a-z][a-z-]+) ", out.partition(f"{next(iter(HEADINGS))}:")[2], re.MULTILINE)
    assert sorted(listed) == sorted(get_command(cli.app).commands)  # type: ignore[attr-defined]
    assert listed[:4] == ["run", "init", "recipes", "presets"]
    assert max(map(len, out.splitlines())) <= 80


def test_a_wrong_command_is_an_error_of_usage(say: Say) -> None:
    code, _, err = say("rnu")
    assert code == 2
    assert "'run'" in err


def test_recipes_and_presets_are_listed_whole_at_80_columns(say: Say) -> None:
    for command, names in (("recipes", recipe_names()), ("presets", list(SIZES))):
        code, out, _ = say(command)
        assert code == 0
        assert all(f"│ {name} " in out for name in names)
        assert max(map(len, out.splitlines()[:-1])) <= 80


def test_an_epoch_costs_three_forward_passes_an_image(say: Say) -> None:
    _, out, _ = say("presets", "--images", "1000000")
    assert f"{3 * SIZES['fast-32'].macs / 1e9:.3g}\u00a0P" in out


def test_every_preset_has_its_size() -> None:
    assert set(SIZES) == set(PRESETS), "run python -m search_spaces.spaces.preset_sizes"
    networks = {name: f"{space_of(name).size:.1e}" for name in SIZES}
    assert networks == {name: f"{size.networks:.1e}" for name, size in SIZES.items()}


@pytest.mark.parametrize("name", ["digits", "cifar-small", "mobile", "fast-8", "mobilenetv2"])
def test_sizes_of_presets_are_what_they_are(name: str) -> None:
    assert counted(name) == SIZES[name], "run python -m search_spaces.spaces.preset_sizes"


@pytest.mark.parametrize("name", sorted(name for name in SIZES if name.startswith(("fast", "signal"))))
def test_the_preset_for_images_is_the_one_that_is_for_them(name: str) -> None:
    assert preset_for(SIZES[name].height, SIZES[name].width) == name


def test_a_recipe_is_written_for_what_the_folder_holds(say: Say, photos: Path) -> None:
    code, out, _ = say("init", str(photos))
    assert code == 0
    assert "quarry run my-photos.toml" in out
    assert "24 images of 'dog', 6 of 'cat'" in out
    recipe = load_recipe("my-photos.toml")
    data = recipe.data
    assert (data.height, data.width, data.channels, data.flip) == (48, 72, 3, True)
    assert recipe.space.preset == "fast-64"
    assert load_data(data, 0).input_shape == (3, 48, 72)
    assert say("init", str(photos))[0] == 1  # an edited recipe is not written over


def test_parquet_files_are_looked_at_and_their_own_test_split_is_kept(tmp_path: Path) -> None:
    cells = []
    for i in range(40):
        Image.new("L", (28, 28), i).convert("RGB").save(tmp_path / "one.png")
        cells.append({"bytes": (tmp_path / "one.png").read_bytes(), "path": None})
    for split in ("test", "train"):
        pq.write_table(
            pa.table({"image": cells, "label": [i % 4 for i in range(40)]}), f"{tmp_path / split}.parquet"
        )
    look = look_at(str(tmp_path))
    assert dict(look.splits) == {"train": 40, "test": 40}
    assert dict(look.counts) == dict.fromkeys("0123", 10)
    assert look.grey  # stored as RGB all the same
    recipe = tomllib.loads(draft("mine", str(tmp_path), look))
    assert recipe["data"]["channels"] == 1
    assert "test_fraction" not in recipe["data"]
    assert "val_fraction" in recipe["data"]


def test_images_of_more_than_8_bits_get_a_white(tmp_path: Path) -> None:
    for name in ("a", "b"):
        place = tmp_path / "train" / name
        place.mkdir(parents=True)
        Image.fromarray(np.full((16, 16), 3000, dtype=np.uint16)).save(place / "1.png")
    look = look_at(str(tmp_path))
    assert tomllib.loads(draft("mine", str(tmp_path), look))["data"]["white"] == 4095
    assert "fewer than 20" in " ".join(warnings(look))


def test_the_input_is_no_larger_than_the_images() -> None:
    look = look_at("digits")
    assert input_size(look) == (8, 8)
    assert not warnings(look)


@pytest.mark.parametrize("images", [2, 3])
def test_too_few_images_for_a_run_are_said_before_it(say: Say, photos: Path, images: int) -> None:
    for file in (photos / "train" / "cat").glob("*.png"):
        if int(file.stem) >= images:
            file.unlink()
    assert say("init", str(photos))[0] == 0
    said = [words for words in warnings(look_at(str(photos))) if "too few images for a run" in words]
    data = load_recipe("my-photos.toml").data
    if images == 3:
        assert not said
        load_data(data, 0)
        return
    assert "every class needs 3 training images or more" in said[0]
    assert said[0].endswith("fewer are of cat")
    with pytest.raises(ValueError, match="every class needs 3 or more"):
        load_data(data, 0)


def test_classes_beside_each_other_are_told_where_to_go(say: Say, photos: Path) -> None:
    code, _, err = say("init", str(photos / "train"))
    assert code == 1
    assert "cat, dog are classes, move them into" in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("init", "nowhere"), "does not exist"),
        (("init", "digits", "--out", "digits.json"), ".toml"),
        (("init", "digits", "--out", "no/digits.toml"), "no folder"),
    ],
)
def test_what_cannot_be_looked_at_or_written_is_said(say: Say, words: tuple[str, ...], told: str) -> None:
    code, _, err = say(*words)
    assert code == 1
    assert told in err


def test_a_table_too_wide_for_the_terminal_becomes_lists(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    name = "photos-of-an-afternoon-in-the-mountains-12"
    columns = ["network", "test accuracy", "predicted ms", "measured ms", "size", "speed-up"]
    Console().table("Chosen", columns, [[name, "98.3 %", "0.0123", "0.0125", "1469 kB", "12.5"]])
    out = capsys.readouterr().out
    assert name in out
    assert "test accuracy  98.3 %" in out
    Console().table("Chosen", columns, [["photos-12", "98.3 %", "0.0123", "0.0125", "1469 kB", "12.5"]])
    out = capsys.readouterr().out
    assert "│ photos-12 │" in out
    assert max(map(len, out.splitlines())) <= 80
