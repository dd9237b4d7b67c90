"""CSV files that name images: read for every kind of label, refused with the line where they are wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from runners.data.load import load_data
from runners.data.splits import Splits
from runners.recipe.schema import Data


def written(folder: Path, *lines: str, name: str = "list.csv") -> Path:
    """A list, and six grey images ``pics/0.png`` to ``pics/5.png`` of growing brightness."""
    (folder / "pics").mkdir(exist_ok=True)
    for index in range(6):
        Image.new("L", (9, 9), 40 * index).save(folder / "pics" / f"{index}.png")
    (folder / name).write_text("\n".join(lines) + "\n", errors="surrogateescape")
    return folder / name


def loaded(source: object, answer: str = "class", **changes: object) -> Splits:
    given = source if isinstance(source, dict) else str(source)
    data = Data.model_validate({"source": given, "height": 8, "width": 8, "channels": 1, **changes})
    return load_data(data, seed=0, answer=answer)


def rows(*labels: str, header: str = "file,label") -> list[str]:
    return [header, *(f"pics/{index}.png,{label}" for index, label in enumerate(labels))]


def test_classes_and_splits(tmp_path: Path) -> None:
    lines = rows(
        "cat,train", "dog,train", "cat,val", "dog,val", "dog,test", "cat,test", header="file,label,split"
    )
    found = loaded(written(tmp_path, *lines))
    assert found.classes == ("cat", "dog")
    assert [split.labels.tolist() for split in (found.train, found.val, found.test)] == [
        [0, 1],
        [0, 1],
        [1, 0],
    ]
    assert found.test.images[:, 0, 0, 0].tolist() == [160, 200]


def test_numbers_as_classes_are_in_their_order(tmp_path: Path) -> None:
    found = loaded(
        written(tmp_path, *rows("10", "9", "10", "9", "10", "9")), val_fraction=0.34, test_fraction=0.34
    )
    assert found.classes == ("9", "10")


def test_labels_in_one_column_or_in_one_each_are_the_same(tmp_path: Path) -> None:
    one = written(tmp_path, *rows("cat; dog", "", "cat", "dog", "dog;cat", "cat"))
    marks = rows("1,1", "0,0", "1,0", "0,1", "1,1", "1,0", header="file,cat,dog")
    each = written(tmp_path, *marks, name="marks.csv")
    first, second = loaded(one, "labels"), loaded(each, "labels")
    assert first.classes == second.classes == ("cat", "dog")
    for split in ("train", "val", "test"):
        assert getattr(first, split).labels.tolist() == getattr(second, split).labels.tolist()
    assert first.train.labels.dtype == torch.int64
    assert first.train.labels.shape[1] == 2


def test_one_column_of_zeros_and_ones_is_one_label(tmp_path: Path) -> None:
    found = loaded(written(tmp_path, *rows("1", "0", "1", "0", "1", "0", header="file,sick")), "labels")
    assert found.classes == ("sick",)
    for split in (found.train, found.val, found.test):
        assert (split.labels[:, 0] == (split.images[:, 0, 0, 0] // 40 + 1) % 2).all()


def test_values_and_a_folder_of_images(tmp_path: Path) -> None:
    lines = [f"{index}.png,{index * 0.5},ignored" for index in range(6)]
    listed = written(tmp_path, "name,age,note", *lines)
    source = {
        "kind": "csv",
        "path": str(listed),
        "images": "pics",
        "file_column": "name",
        "label_columns": ["age"],
    }
    found = loaded(source, "values")
    assert (found.classes, found.train.labels.dtype) == (("age",), torch.float32)
    for split in (found.train, found.val, found.test):
        brightness = split.images[:, 0, 0, 0].double() / 40
        assert np.allclose(split.labels[:, 0], brightness * 0.5)


WRONG: list[tuple[str, list[str], str]] = [
    ("class", [*rows("a", "b"), "pics/9.png,a"], r"list.csv:4: there is no image .*9\.png\. Did you mean"),
    ("class", [*rows("a", "b"), "pics/0.png,b"], r":4: 0\.png stands in line 2 already"),
    ("class", rows("a", "", "b"), r":3: 1\.png has no class in column 'label'"),
    (
        "class",
        rows("a,train", "b,train", "c,val", header="file,label,split"),
        r":4: no training image has the class 'c'",
    ),
    (
        "class",
        rows("a,train", "b,dev", header="file,label,split"),
        r":3: split 'dev' is none of train, val, test",
    ),
    (
        "class",
        rows("a", "b", header="picture,label"),
        r":1: none of its columns is called file, .* one of picture, label",
    ),
    ("class", rows("a,1", "b,2", header="file,label,more"), r"2 columns of labels \(label, more\)"),
    ("class", rows("a", "b,c"), r":3: it has another number of cells"),
    ("labels", rows("1,0", "0,1", header="file,cat,cat"), r":1: 2 columns are called 'cat'"),
    ("class", rows("caf\udce9", "b"), r"list.csv:1: 'utf-8' codec can't decode byte 0xe9"),
    ("class", ["file,label"], r"lists no training image"),
    ("values", rows("1.5", "much"), r":3: label is 'much'; right is a number"),
    ("values", rows("1.5", "1e39"), r":3: label is 1e39; right is a finite number of 32 bits"),
    ("values", rows("1.5", "nan"), r":3: label is nan; right is a finite number"),
    ("labels", rows("1,0", "1,2", header="file,cat,dog"), r":3: dog is '2'; right are 0 and 1"),
]


@pytest.mark.parametrize(("answer", "lines", "words"), WRONG)
def test_what_is_wrong_is_told_with_its_line(
    tmp_path: Path, answer: str, lines: list[str], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        loaded(written(tmp_path, *lines), answer)


def test_another_label_or_another_image_is_read_anew(tmp_path: Path) -> None:
    listed = written(tmp_path, *rows("a", "b", "a", "b", "a", "b"))
    data = Data.model_validate(
        {"source": str(listed), "height": 8, "width": 8, "channels": 1, "val_fraction": 0.4}
    )
    kept = tmp_path / "decoded.safetensors"
    first = load_data(data, 0, kept)
    Image.new("L", (9, 9), 255).save(tmp_path / "pics" / "0.png")
    second = load_data(data, 0, kept)
    whole = [torch.cat([one.train.images, one.val.images, one.test.images]) for one in (first, second)]
    assert (int(whole[0].max()), int(whole[1].max())) == (200, 255)
