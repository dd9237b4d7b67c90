"""Arrays of npz files: every shape of images and labels that there is, other channels, and 16 bits."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from results.records.card_text import preparation_code
from runners.data.load import load_data
from runners.data.splits import Prepare, Splits
from runners.recipe.schema import Data

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (12, 8, 8), dtype=np.uint8)
LABELS = np.arange(12) % 3


def loaded(
    folder: Path, answer: str = "class", changes: dict[str, Any] | None = None, **arrays: Any
) -> Splits:
    np.savez(folder / "some.npz", **arrays)
    wanted = {"source": str(folder / "some.npz"), "height": 8, "width": 8, "channels": 1, **(changes or {})}
    return load_data(Data.model_validate(wanted), seed=0, answer=answer)


def whole(splits: Splits) -> dict[bytes, Any]:
    """The label of each image, by its pixels."""
    parts = (splits.train, splits.val, splits.test)
    return {
        image.numpy().tobytes(): label.tolist()
        for part in parts
        for image, label in zip(part.images, part.labels, strict=True)
    }


@pytest.mark.parametrize("labels", [LABELS, LABELS[:, None], LABELS + 5, np.array(list("abc"))[LABELS]])
def test_classes_of_every_form_go_with_their_images(tmp_path: Path, labels: Any) -> None:
    found = loaded(tmp_path, images=IMAGES, labels=labels)
    expected = {image.tobytes(): int(label) for image, label in zip(IMAGES, LABELS, strict=True)}
    assert whole(found) == expected
    assert found.classes == tuple(map(str, np.unique(labels)))


def test_splits_of_their_own_and_names(tmp_path: Path) -> None:
    names = np.array(["x", "y", "z"])
    arrays = {
        f"{split}_{what}": one
        for split in ("train", "test")
        for what, one in (("images", IMAGES), ("labels", LABELS))
    }
    found = loaded(tmp_path, classes=names, **arrays)
    assert (found.classes, len(found.test), len(found.train) + len(found.val)) == (("x", "y", "z"), 12, 12)


def test_words_keep_their_names_whatever_the_order_of_the_classes(tmp_path: Path) -> None:
    words = np.array(["cat", "dog", "ape"])[LABELS]
    found = loaded(tmp_path, images=IMAGES, labels=words, classes=np.array(["dog", "cat", "ape"]))
    assert found.classes == ("dog", "cat", "ape")
    said = {pixels: found.classes[label] for pixels, label in whole(found).items()}
    assert said == {image.tobytes(): word for image, word in zip(IMAGES, words.tolist(), strict=True)}


@pytest.mark.parametrize("place", [1, -1])
def test_five_channels_of_sixteen_bits(tmp_path: Path, place: int) -> None:
    deep = RNG.integers(0, 4096, (12, 8, 8, 5)).astype(np.uint16)
    images = np.moveaxis(deep, -1, place)
    found = loaded(tmp_path, changes={"channels": 5, "white": 4095}, images=images, labels=LABELS)
    assert found.input_shape == (5, 8, 8)
    expected = {
        np.rint(image.transpose(2, 0, 1) * 255 / 4095).astype(np.uint8).tobytes(): int(label)
        for image, label in zip(deep.astype(np.float64), LABELS, strict=True)
    }
    assert whole(found) == expected
    assert len(found.preprocessing.mean) == 5


@pytest.mark.parametrize(("kind", "white"), [(np.uint16, 4095), (np.float32, 1.0), (np.float16, 1.0)])
def test_predict_prepares_an_array_as_it_was_trained_on(tmp_path: Path, kind: Any, white: float) -> None:
    deep = (RNG.random((12, 8, 8, 2)) * white).astype(kind)
    found = loaded(tmp_path, changes={"channels": 2, "white": white}, images=deep, labels=LABELS)
    assert found.preprocessing.decode.startswith("an array")
    prepare = runpy.run_path(written(tmp_path, preparation_code(found.preprocessing)))["prepare"]
    trained = Prepare(preprocessing=found.preprocessing)(found.train.images, None).numpy()
    known = {one.tobytes() for one in map(np.ascontiguousarray, trained)}
    given = {np.ascontiguousarray(prepare(image)[0]).tobytes() for image in deep}
    assert known <= given
    with pytest.raises(ValueError, match=r"needed are values from 0 to"):
        prepare(deep[0] + 1.001 * white)
    with pytest.raises(ValueError, match=r"needed is uint8 \(8, 8, 2\)"):
        prepare(deep[0, 1:])


def written(folder: Path, code: str) -> str:
    (folder / "prepare.py").write_text(code)
    return str(folder / "prepare.py")


def test_other_sizes_are_brought_to_the_recipes(tmp_path: Path) -> None:
    flat = np.full((12, 20, 30, 3), (10, 20, 30), dtype=np.uint8)
    found = loaded(tmp_path, changes={"channels": 3}, images=flat, labels=LABELS)
    assert found.train.images.shape[1:] == (3, 8, 8)
    assert found.train.images.amax((0, 2, 3)).tolist() == [10, 20, 30]


def test_labels_and_values(tmp_path: Path) -> None:
    marks = np.stack([LABELS == 0, LABELS > 0], 1)
    found = loaded(tmp_path, "labels", images=IMAGES, labels=marks)
    assert (found.classes, found.train.labels.dtype) == (("label-0", "label-1"), torch.int64)
    assert whole(found) == {i.tobytes(): m.astype(int).tolist() for i, m in zip(IMAGES, marks, strict=True)}
    found = loaded(tmp_path, "values", images=IMAGES, labels=LABELS * 0.5)
    assert whole(found) == {i.tobytes(): [v] for i, v in zip(IMAGES, LABELS * 0.5, strict=True)}


NAN = np.where(np.arange(12) == 4, np.nan, 1.0)
WRONG: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("class", {"images": IMAGES}, {}, "has images; needed are images and labels"),
    (
        "class",
        {"images": IMAGES, "labels": LABELS[:5]},
        {},
        r"images of shape \(12, 8, 8\) and labels of \(5,\)",
    ),
    ("class", {"images": np.array(3), "labels": np.array(3)}, {}, r"images of shape \(\) and labels of \(\)"),
    ("class", {"images": IMAGES, "labels": LABELS, "classes": np.array(list("aba"))}, {}, "the same name"),
    ("class", {"images": IMAGES, "labels": LABELS, "classes": np.array(list("ab"))}, {}, "not among .*: 2"),
    # Signals (N, channels, length) are no images: as ones of a column they were cut to a few values.
    ("class", {"images": IMAGES, "labels": LABELS}, {"channels": 8, "height": 1}, "data.channels are 8"),
    ("labels", {"images": IMAGES[:3], "labels": np.eye(3)}, {}, "too few .* the test split is empty"),
    ("class", {"images": IMAGES, "labels": np.eye(3)[LABELS]}, {}, r'one class an image.*"multi_label"'),
    ("class", {"images": IMAGES, "labels": NAN}, {}, "one class an image"),
    ("class", {"images": IMAGES, "labels": LABELS}, {"channels": 3}, r"\(12, 8, 8\).*data.channels are 3"),
    ("class", {"images": IMAGES.astype(np.uint16), "labels": LABELS}, {}, "values from .* set data.white"),
    (
        "class",
        {"images": IMAGES.astype(np.uint16) * 9, "labels": LABELS},
        {"white": 255},
        r"0 to 255 \(data.white\)",
    ),
    ("class", {"images": IMAGES * NAN[:, None, None], "labels": LABELS}, {"white": 255}, "#4 has NaN"),
    ("labels", {"images": IMAGES, "labels": LABELS}, {}, "zeros and ones"),
    ("labels", {"images": IMAGES, "labels": np.stack([LABELS] * 2, 1)}, {}, "zeros and ones"),
    ("values", {"images": IMAGES, "labels": NAN}, {}, "labels of .*: #4 is no finite number"),
    ("values", {"images": IMAGES, "labels": LABELS + 1e300}, {}, "#0 is no finite number"),
    ("values", {"images": IMAGES, "labels": np.array(list("abc"))[LABELS]}, {}, "right are numbers"),
    (
        "values",
        {"images": IMAGES, "labels": LABELS, "classes": np.array(["a", "b"])},
        {},
        "1 values .* names of 2",
    ),
]


@pytest.mark.parametrize(("answer", "arrays", "changes", "words"), WRONG)
def test_what_is_wrong_is_told(
    tmp_path: Path, answer: str, arrays: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        loaded(tmp_path, answer, changes, **arrays)


def damaged(content: bytes) -> bytes:
    return content[:200] + bytes(8) + content[208:]


@pytest.mark.parametrize(
    "change", [lambda _: b"no archive", lambda _: b"", lambda b: b[: len(b) // 2], damaged]
)
def test_a_file_of_something_else_or_a_damaged_one(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    np.savez(tmp_path / "some.npz", images=IMAGES, labels=LABELS)
    (tmp_path / "some.npz").write_bytes(change((tmp_path / "some.npz").read_bytes()))
    wanted = Data.model_validate({"source": str(tmp_path / "some.npz"), "height": 8, "width": 8})
    with pytest.raises(ValueError, match="cannot be read as arrays"):
        load_data(wanted, seed=0)


def test_image_files_have_one_or_three_channels(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for index in range(3):
            (tmp_path / "train" / name / f"{index}.png").touch()
    wanted = Data.model_validate({"source": str(tmp_path), "height": 8, "width": 8, "channels": 4})
    with pytest.raises(ValueError, match=r"data.channels = 4: image files are read as 1 \(grey\) or 3"):
        load_data(wanted, seed=0)
