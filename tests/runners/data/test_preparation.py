"""What a card says of preparing an image gives the bits that the file was judged with."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from results.records import Preprocessing, readme
from runners.data.load import load_data
from runners.data.splits import Prepare
from runners.recipe.schema import Data
from tests.results.records.test_records import CARD

HEIGHT, WIDTH = 24, 32
WHITE = 4095


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Pixels uint8 (height, width, channels) in which every resampling shows."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def write_pictures(folder: Path) -> None:
    """One file of every kind that a decoder may treat in its own way."""
    folder.mkdir(parents=True)
    colour, large = Image.fromarray(noise(60, 50)), Image.fromarray(noise(700, 1000))
    turned = Image.Exif()
    turned[0x0112] = 6
    large.save(folder / "large.jpg", quality=90)
    large.save(folder / "turned.jpg", quality=90, exif=turned)
    large.convert("L").save(folder / "grey.jpg")
    large.convert("CMYK").save(folder / "print.jpg")
    colour.save(folder / "colour.png")
    colour.convert("L").save(folder / "grey.png")
    colour.convert("1").save(folder / "two.png")
    colour.convert("P").save(folder / "palette.png", transparency=3)
    colour.convert("LAB").save(folder / "lab.tif")
    colour.save(folder / "first.gif", save_all=True, append_images=[Image.new("RGB", colour.size)])
    Image.fromarray(noise(HEIGHT, WIDTH)).save(folder / "exact.png")
    Image.fromarray(noise(10, 7)).save(folder / "tiny.png")
    Image.fromarray(noise(60, 50, 4)).save(folder / "clear.png")
    Image.fromarray(noise(60, 50, 2), "LA").save(folder / "clear_grey.png")
    deep = np.random.default_rng(1).integers(0, WHITE + 1, (60, 50))
    Image.fromarray(deep.astype(np.uint16)).save(folder / "deep.png")
    Image.fromarray(deep.astype(np.int32)).save(folder / "deep.tif")
    Image.fromarray(deep.astype(np.float32)).save(folder / "float.tif")


def by_the_card(preprocessing: Preprocessing) -> Callable[[Path], Any]:
    """The function that the card's README gives, run as it stands there."""
    text = readme(replace(CARD, preprocessing=preprocessing))
    code = re.search(r"```python\n(.*?)```", text.partition("## Input and output")[2], flags=re.S)
    assert code is not None
    names: dict[str, Any] = {}
    exec(code[1], names)
    return names["prepare"]


@pytest.mark.parametrize("channels", [1, 3])
def test_the_card_prepares_every_file_to_the_same_bits(tmp_path: Path, channels: int) -> None:
    for split in ("train", "val", "test"):
        for name in ("a", "b"):
            write_pictures(tmp_path / split / name)
    recipe = Data.model_validate(
        {"source": str(tmp_path), "height": HEIGHT, "width": WIDTH, "channels": channels, "white": WHITE}
    )
    splits = load_data(recipe, seed=0)
    judged = Prepare(preprocessing=splits.preprocessing)(splits.test.images, None).numpy()
    prepare = by_the_card(splits.preprocessing)
    files = [file for name in ("a", "b") for file in sorted((tmp_path / "test" / name).iterdir())]
    assert len(files) == len(judged) == 34
    for file, wanted in zip(files, judged, strict=True):
        found = prepare(file)
        assert found.dtype == np.float32
        assert found.shape == (1, channels, HEIGHT, WIDTH)
        assert found[0].tobytes() == wanted.tobytes(), file.name


def test_the_card_refuses_what_the_run_refused(tmp_path: Path) -> None:
    plain = Preprocessing(channels=1, height=8, width=8, mean=(0.5,), std=(0.25,))
    file = tmp_path / "deep.png"
    Image.fromarray(np.full((8, 8), 9, dtype=np.uint16)).save(file)
    with pytest.raises(ValueError, match="more than 8 bits"):
        by_the_card(plain)(file)


def test_the_card_says_in_words_how_images_are_decoded() -> None:
    plain = Preprocessing(channels=1, height=8, width=8, mean=(0.5,), std=(0.25,))
    text = readme(replace(CARD, preprocessing=replace(plain, white=4095.0)))
    assert "JPEG in full" in text
    assert "- white: 4095" in text
    assert "- white:" not in readme(replace(CARD, preprocessing=plain))
