"""Parquet files and data sets of the hub, through the ``datasets`` library."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from runners.data.images import decode_all
from runners.data.raw import Raw, RawSplit
from search_spaces.naming import unknown

if TYPE_CHECKING:  # `datasets` takes a second to import; only runs that read with it pay
    from datasets import Dataset

_LABELS = ("label", "labels", "fine_label", "class", "target")
_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def read_parquet(
    path: Path, *, image_column: str, label_column: str, height: int, width: int, channels: int
) -> Raw:
    """The labelled images of a parquet file, or of a folder with ``train*``, ``val*`` and ``test*`` files.

    Raises:
        ValueError: no such files, columns that are missing or ambiguous, damaged files or images.
    """
    import datasets

    files: dict[str, list[str]] = {}
    if path.is_file():
        files["train"] = [str(path)]
    else:
        for file in sorted(path.glob("*.parquet")):
            split = next((s for prefix, s in _SPLITS.items() if file.name.startswith(prefix)), "")
            if split:
                files.setdefault(split, []).append(str(file))
    if "train" not in files:
        raise ValueError(f"{path} has no train*.parquet")
    tables = {}
    for split, names in files.items():
        try:
            with _quiet():
                tables[split] = datasets.Dataset.from_parquet(names, keep_in_memory=True)
        except Exception as error:  # pyarrow's and the library's own errors for damaged files
            raise ValueError(f"{', '.join(names)} cannot be read as parquet: {error}") from error
    return _read(tables, str(path), image_column, label_column, height, width, channels)


def read_hub(
    name: str, *, image_column: str, label_column: str, height: int, width: int, channels: int
) -> Raw:
    """A data set of the hub, or of the local cache.

    Raises:
        ValueError: it cannot be had, or has no images with labels.
    """
    import datasets

    try:
        found = datasets.load_dataset(name)
    except Exception as error:  # offline, misspelled, gated: the library raises many kinds
        raise ValueError(
            f"data.source {name!r} is neither 'digits', nor a folder or parquet file that exists, nor a data "
            f"set that the hub gives ({type(error).__name__}: {str(error).splitlines()[0]})"
        ) from error
    tables = {_SPLITS[split]: table for split, table in found.items() if split in _SPLITS}
    if "train" not in tables:
        raise ValueError(f"data set {name!r} has no train split, only {', '.join(found)}")
    return _read(tables, name, image_column, label_column, height, width, channels)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the library's own progress bars out of ours."""
    import datasets

    disabled = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not disabled:
            datasets.enable_progress_bars()


def _read(
    tables: dict[str, Dataset],
    source: str,
    image_column: str,
    label_column: str,
    height: int,
    width: int,
    channels: int,
) -> Raw:
    import datasets

    columns = tables["train"].column_names
    image_column = image_column or _image_column(tables["train"], source)
    label_column = label_column or next((name for name in _LABELS if name in columns), "")
    for what, column in (("image_column", image_column), ("label_column", label_column)):
        if column not in columns:
            raise ValueError(f"data.{what} of {source}: {unknown('column', column, columns)}")
    names, numbers = _classes(tables, label_column, source)
    splits = {}
    for split, table in tables.items():
        # A whole column at once: asked for one by one, rows cost a millisecond each.
        images = table.cast_column(image_column, datasets.Image(decode=False))[image_column][:]
        pixels = decode_all(
            images,
            lambda i, images=images: _open(images[i]),  # type: ignore[misc]
            lambda i, split=split: f"{split} #{i} of {source}",  # type: ignore[misc]
            height=height,
            width=width,
            channels=channels,
        )
        splits[split] = RawSplit(pixels, numbers[split])
    return Raw(splits, names)


def _open(cell: Any) -> Image.Image:
    if cell.get("bytes"):
        return Image.open(io.BytesIO(cell["bytes"]))
    if cell.get("path"):
        return Image.open(cell["path"])
    raise ValueError("the cell is empty")


def _image_column(table: Dataset, source: str) -> str:
    import datasets

    found = [name for name, feature in table.features.items() if isinstance(feature, datasets.Image)]
    if not found:  # plain parquet: a struct with bytes, or bytes
        found = [name for name in ("image", "img", "picture") if name in table.column_names]
    if len(found) != 1:
        raise ValueError(
            f"{source}: cannot tell which column holds the images; set data.image_column to one of "
            f"{', '.join(table.column_names)}"
        )
    return found[0]


def _classes(
    tables: dict[str, Dataset], column: str, source: str
) -> tuple[tuple[str, ...], dict[str, NDArray[np.int64]]]:
    """Class names, and the labels of each split as numbers from 0."""
    labels = {split: np.asarray(table[column]) for split, table in tables.items()}
    for split, values in labels.items():
        missing = [i for i, value in enumerate(values.tolist()) if value is None or value != value]
        if missing:
            raise ValueError(
                f"{split} #{missing[0]} of {source} has no label (NaN or empty) in column {column!r}"
            )
    known = sorted(set(labels["train"].tolist()))
    for split, values in labels.items():
        strange = sorted(set(values.tolist()) - set(known))
        if strange:
            raise ValueError(f"the {split} split of {source} has labels that train has not: {strange[:5]}")
    number = {value: index for index, value in enumerate(known)}
    given = getattr(tables["train"].features[column], "names", None)
    names = [given[int(value)] if given else str(value) for value in known]
    return tuple(names), {
        split: np.array([number[v] for v in values.tolist()], dtype=np.int64)
        for split, values in labels.items()
    }
