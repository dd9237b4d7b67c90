"""Data sources are parts: by name with settings, or by where the data are; a user's own is read like ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runners.data.decoded import kept
from runners.data.load import load_data
from runners.data.raw import Raw, RawSplit, View
from runners.data.sources import SOURCES, located, resolved
from runners.recipe.part import Part, part
from runners.recipe.schema import Data


def folder(root: Path) -> Path:
    for label in ("ant", "bee"):
        (root / "train" / label).mkdir(parents=True)
        for index in range(4):
            Image.new("RGB", (8, 8), (60 * index, 0, 0)).save(root / "train" / label / f"{index}.png")
    return root


def recipe(source: object) -> Data:
    return Data.model_validate({"source": source, "height": 8, "width": 8})


def test_a_path_means_the_source_that_reads_it(tmp_path: Path) -> None:
    images = folder(tmp_path / "images")
    (tmp_path / "table.parquet").touch()
    assert resolved(part(str(images))) == part("folder", path=str(images))
    table = str(tmp_path / "table.parquet")
    assert resolved(part(table, label_column="kind")) == part("parquet", path=table, label_column="kind")
    assert resolved(part("cifar10", image_column="img")) == part("hub", name="cifar10", image_column="img")
    assert resolved(part("digits")) == part("digits")
    with pytest.raises(ValueError, match="data.source ./nowhere does not exist"):
        resolved(part("./nowhere"))


def test_a_source_by_name_reads_what_its_path_would(tmp_path: Path) -> None:
    images = str(folder(tmp_path))
    by_path = load_data(recipe(images), seed=0)
    by_name = load_data(recipe({"kind": "folder", "path": images}), seed=0)
    assert (by_path.train.images == by_name.train.images).all()
    assert by_path.classes == by_name.classes == ("ant", "bee")


def test_paths_are_looked_for_from_a_folder_and_names_of_sources_are_no_paths(tmp_path: Path) -> None:
    (tmp_path / "digits").mkdir()
    (tmp_path / "photos").mkdir()
    assert located(part("digits"), tmp_path) == part("digits")
    assert located(part("photos"), tmp_path) == part(str(tmp_path / "photos"))
    assert located(part("elsewhere"), tmp_path) == part("elsewhere")
    assert located(part("folder", path="photos"), tmp_path) == part("folder", path=str(tmp_path / "photos"))


@pytest.fixture
def noise(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A source of the user's own that keeps what it decoded; the words of what it did."""
    monkeypatch.setattr(SOURCES, "_entries", dict(SOURCES._entries))
    done: list[str] = []

    @SOURCES.register("noise")
    def noise(view: View, *, path: Path, brightness: int = 255) -> Raw:
        """Noise of a seed that a file holds."""

        def read() -> Raw:
            done.append(f"read with {brightness}")
            rng = np.random.default_rng(int(path.read_text()))
            pixels = rng.integers(0, brightness, (20, view.channels, view.height, view.width), dtype=np.uint8)
            return Raw({"train": RawSplit(pixels, np.arange(20) % 2)}, ("a", "b"))

        return kept(view, path, read, brightness=str(brightness))

    return done


def test_a_source_of_the_users_own_is_read_and_kept_like_ours(tmp_path: Path, noise: list[str]) -> None:
    file, decoded = tmp_path / "seed.txt", tmp_path / "decoded.safetensors"
    file.write_text("1")
    source = {"kind": "noise", "path": str(file)}
    first = load_data(recipe(source), 0, decoded)
    assert first.train.images.shape[1:] == (3, 8, 8)
    again = load_data(recipe(source), 0, decoded)
    assert noise == ["read with 255"]
    assert (again.train.images == first.train.images).all()
    load_data(recipe({**source, "brightness": 9}), 0, decoded)  # another setting is other data
    file.write_text("22")  # and so is a changed file
    load_data(recipe({**source, "brightness": 9}), 0, decoded)
    assert noise == ["read with 255", "read with 9", "read with 9"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"kind": "noise"}, "path: 'noise' needs this and has no default"),
        (
            {"kind": "noise", "path": "x", "brightness": "dark"},
            "brightness = 'dark': Input should be a valid int",
        ),
        (
            {"kind": "noise", "path": "x", "brigthness": 1},
            "has no setting 'brigthness'. Did you mean 'bright",
        ),
    ],
)
def test_settings_that_a_source_does_not_take_are_named(
    noise: list[str], source: dict[str, object], message: str
) -> None:
    chosen = Part.model_validate(source)
    problems = SOURCES.problems(chosen.kind, chosen.settings, "data.source")
    assert len(problems) == 1
    assert message in problems[0]
    assert problems[0].startswith("data.source.")
