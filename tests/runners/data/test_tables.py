"""Parquet files however they were written, and what is said of those that hold no labelled images."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from runners.data.load import load_data
from runners.data.splits import Splits
from runners.recipe.schema import Data

N = 12
LABELS = [index % 3 for index in range(N)]


def recipe(source: object, **changes: object) -> Data:
    settings = {name: changes.pop(name) for name in ("image_column", "label_column") if name in changes}
    return Data.model_validate(
        {"source": {"kind": str(source), **settings}, "height": 8, "width": 8, "channels": 1, **changes}
    )


def encoded(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (9, 8), value).save(file, "PNG")
    return file.getvalue()


def images(n: int = N, start: int = 0) -> list[bytes]:
    return [encoded(start + index) for index in range(n)]


def write(path: Path, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def everything(splits: Splits) -> dict[int, str]:
    """Class names by the grey of the image, of all splits together."""
    found = {}
    for split in (splits.train, splits.val, splits.test):
        for grey, label in zip(split.images[:, 0, 0, 0].tolist(), split.labels.tolist(), strict=True):
            found[grey] = splits.classes[label]
    return found


def refused(source: object, **changes: object) -> str:
    with pytest.raises(ValueError, match=".") as caught:
        load_data(recipe(source, **changes), seed=0)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["struct", "bytes", "path"])
def test_images_as_structs_bytes_or_paths(tmp_path: Path, kind: str) -> None:
    cells: Sequence[Any] = images()
    if kind == "struct":
        cells = [{"bytes": cell, "path": None} for cell in cells]
    elif kind == "path":
        for index, cell in enumerate(cells):
            (tmp_path / f"{index}.png").write_bytes(cell)
        cells = [str(tmp_path / f"{index}.png") for index in range(N)]
    file = write(tmp_path / "data.parquet", image=cells, label=LABELS)
    splits = load_data(recipe(file), seed=0)
    assert everything(splits) == {index: str(index % 3) for index in range(N)}
    assert (len(splits.train), len(splits.val), len(splits.test)) == (6, 3, 3)


def test_what_the_datasets_library_wrote_keeps_its_class_names(tmp_path: Path) -> None:
    features = datasets.Features(
        {"pixels": datasets.Image(), "kind": datasets.ClassLabel(names=["zebra", "ant", "bee"])}
    )
    pictures = [Image.new("L", (8, 8), index) for index in range(N)]
    table = datasets.Dataset.from_dict({"pixels": pictures, "kind": LABELS}, features=features)
    table.to_parquet(tmp_path / "train.parquet")
    splits = load_data(recipe(tmp_path, label_column="kind"), seed=0)
    assert splits.classes == ("zebra", "ant", "bee")
    assert everything(splits)[1] == "ant"
    assert everything(splits)[3] == "zebra"


def test_images_as_lists_of_numbers(tmp_path: Path) -> None:
    arrays = [np.full((9, 8), index / 255).tolist() for index in range(N)]
    file = write(tmp_path / "x.parquet", image=arrays, label=LABELS)
    splits = load_data(recipe(file, white=1), seed=0)
    assert everything(splits) == {index: str(index % 3) for index in range(N)}
    assert "set data.white to the value of full intensity" in refused(file)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["b", "c", "a"] * 4, ("a", "b", "c")),
        ([7, 30, 4] * 4, ("4", "7", "30")),
        ([True, False, False] * 4, ("False", "True")),
    ],
)
def test_labels_may_be_words_and_any_numbers(tmp_path: Path, labels: list[Any], names: Sequence[str]) -> None:
    splits = load_data(recipe(write(tmp_path / "x.parquet", image=images(), label=labels)), seed=0)
    assert splits.classes == tuple(names)
    assert everything(splits) == {index: str(label) for index, label in enumerate(labels)}


@pytest.mark.parametrize(
    "names",
    [
        ("train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "test.parquet"),
        ("data/train-0.parquet", "data/train-1.parquet", "data/test-0.parquet"),
        ("plain/train/0000.parquet", "plain/train/0001.parquet", "plain/test/0000.parquet"),
    ],
)
def test_folders_as_the_hub_lays_them_out(tmp_path: Path, names: Sequence[str]) -> None:
    for index, name in enumerate(names):
        write(tmp_path / name, image=images(start=index * N), label=LABELS)
    splits = load_data(recipe(tmp_path), seed=0)
    assert len(splits.train) + len(splits.val) == 2 * N
    assert sorted(splits.test.images[:, 0, 0, 0].tolist()) == list(range(2 * N, 3 * N))


def test_a_validation_file_is_taken_as_it_is(tmp_path: Path) -> None:
    for name in ("train", "validation", "test"):
        write(tmp_path / f"{name}.parquet", img=images(), fine_label=LABELS)
    splits = load_data(recipe(tmp_path), seed=0)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (N, N, N)


# -- what bad input gets ------------------------------------------------------------------------------


def test_a_folder_without_training_files_is_named(tmp_path: Path) -> None:
    write(tmp_path / "part.parquet", image=images(), label=LABELS)
    assert f"{tmp_path} has no train*.parquet" in refused(tmp_path)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "train.parquet", image=images(), label=LABELS)
    file.write_bytes(file.read_bytes()[:-30])
    assert f"{file} cannot be read as parquet: " in refused(tmp_path)
    file.write_bytes(b"")
    assert f"{file} cannot be read as parquet: " in refused(tmp_path)


def test_files_that_do_not_fit_together_are_named(tmp_path: Path) -> None:
    write(tmp_path / "train-0.parquet", image=images(), label=LABELS)
    write(tmp_path / "train-1.parquet", image=images(), label=[str(label) for label in LABELS])
    assert "train-1.parquet has other columns or types than" in refused(tmp_path)


def test_a_missing_column_is_named_with_those_there_are(tmp_path: Path) -> None:
    file = write(tmp_path / "x.parquet", image=images(), category=LABELS)
    said = refused(file)
    assert "none of its columns is called label, labels" in said
    assert "set data.source.label_column to one of image, category" in said
    assert "unknown column 'categori'. Did you mean 'category'?" in refused(file, label_column="categori")
    assert everything(load_data(recipe(file, label_column="category"), seed=0))
    said = refused(write(tmp_path / "y.parquet", picture1=images(), label=LABELS))
    assert (
        "cannot tell which column holds the images; set data.source.image_column to one of picture1, label"
        in said
    )


def test_a_column_missing_in_one_split_only_is_named(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", image=images(), label=LABELS)
    write(tmp_path / "test.parquet", image=images())
    assert f"data.source.label_column: the test split of {tmp_path} has unknown column 'label'" in refused(
        tmp_path
    )


def test_a_column_of_something_else_is_named(tmp_path: Path) -> None:
    said = refused(write(tmp_path / "x.parquet", image=LABELS, label=LABELS))
    assert "data.source.image_column: column 'image' of" in said
    assert "does not hold encoded images; right are bytes" in said
    said = refused(write(tmp_path / "y.parquet", image=images(), label=[[1, 2]] * N))
    assert "data.source.label_column: column 'label' of" in said
    assert "holds lists; right is one number or word for each image" in said


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_missing_label_is_named_by_its_row(tmp_path: Path, missing: float | None) -> None:
    labels = [float(label) for label in LABELS]
    file = write(tmp_path / "x.parquet", image=images(), label=[*labels[:5], missing, *labels[6:]])
    assert f"train #5 of {file} has no label (NaN or empty) in column 'label'" in refused(file)


@pytest.mark.parametrize("cell", [None, b"", b"not an image"])
def test_a_bad_image_is_named_by_its_row(tmp_path: Path, cell: bytes | None) -> None:
    cells = [*images(4), cell, *images(N - 5)]
    file = write(tmp_path / "x.parquet", image=cells, label=LABELS)
    said = refused(file)
    assert f"train #4 of {file}: " in said
    assert "the cell is empty" in said or "not an image of a known kind" in said


def test_one_class_is_not_enough(tmp_path: Path) -> None:
    said = refused(write(tmp_path / "x.parquet", image=images(), label=[0] * N))
    assert "has 1 class; telling classes apart needs two or more" in said


def test_a_table_without_rows_is_named(tmp_path: Path) -> None:
    empty = pa.array([], pa.binary()), pa.array([], pa.int64())
    write(tmp_path / "train.parquet", image=empty[0], label=empty[1])
    assert "has 0 classes" in refused(tmp_path)
    write(tmp_path / "train.parquet", image=images(), label=LABELS)
    write(tmp_path / "test.parquet", image=empty[0], label=empty[1])
    assert f"the test split of {tmp_path} holds no image" in refused(tmp_path)


def test_a_class_of_test_that_training_does_not_know_is_named(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", image=images(), label=LABELS)
    write(tmp_path / "test.parquet", image=images(), label=[label + 1 for label in LABELS])
    said = refused(tmp_path)
    assert f"the test split of {tmp_path} has labels that are no class of its train split: 3" in said


def test_classes_that_are_named_but_have_no_image_are_refused(tmp_path: Path) -> None:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(num_classes=4)})
    pictures = [Image.fromarray(np.zeros((8, 8), dtype=np.uint8))] * N
    table = datasets.Dataset.from_dict({"image": pictures, "label": LABELS}, features=features)
    table.to_parquet(tmp_path / "train.parquet")
    assert "every class needs 3 or more" in refused(tmp_path)
    assert "fewer are of '3' (0)" in refused(tmp_path)
