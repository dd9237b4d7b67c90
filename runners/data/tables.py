"""Tables of labelled images, from parquet files or elsewhere, through the ``datasets`` library."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from results.names import unknown
from runners.data.decoded import kept
from runners.data.folder import check_place
from runners.data.images import decode_all
from runners.data.raw import Raw, RawSplit, View

if TYPE_CHECKING:  # `datasets` takes a second to import; only runs that read with it pay
    import pyarrow as pa
    from datasets import Dataset

_LABELS = ("label", "labels", "fine_label", "class", "target")


def split_of(name: str) -> str:
    """The split that a file, folder or hub split of this name belongs to; empty for others."""
    return next((split for split in ("train", "val", "test") if name.lower().startswith(split)), "")


def read_parquet(view: View, *, path: Path, image_column: str = "", label_column: str = "") -> Raw:
    """Images in a parquet file, or in a folder with ``train*``, ``val*`` and ``test*`` files.

    The files may also lie in folders called so, as the hub lays them out.

    Args:
        view: size and channels to bring the images to.
        path: file or folder.
        image_column: column of the images; empty finds the only one that holds images.
        label_column: column of the labels; empty finds ``label``, ``labels``, ``fine_label`` or ``class``.

    Raises:
        ValueError: no such files, columns that are missing or ambiguous, damaged files or images.
    """
    check_place(path)
    return kept(
        view,
        path,
        lambda: _read(view, path, image_column, label_column),
        image_column=image_column,
        label_column=label_column,
    )


def _read(view: View, path: Path, image_column: str, label_column: str) -> Raw:
    return read_tables(view, _tables(path), str(path), image_column, label_column)


def labelled_cells(path: Path) -> tuple[tuple[str, ...], dict[str, tuple[list[Any], NDArray[np.int64]]]]:
    """Class names of parquet files, and the encoded images of each split with their labels.

    Raises:
        ValueError: as ``read_parquet``; images are not opened.
    """
    tables = _tables(path)
    image_column, label_column = _columns(tables, str(path), "", "")
    names, numbers = _classes(tables, label_column, str(path))
    cells = {split: _cells(table, image_column, str(path)) for split, table in tables.items()}
    return names, {split: (cells[split], numbers[split]) for split in tables}


def _tables(path: Path) -> dict[str, Dataset]:
    import datasets

    files: dict[str, list[Path]] = {}
    if path.is_file():
        files["train"] = [path]
    else:
        for file in sorted(path.rglob("*.parquet")):
            split = next(filter(None, map(split_of, file.relative_to(path).parts)), "")
            if split:
                files.setdefault(split, []).append(file)
    if "train" not in files:
        raise ValueError(f"{path} has no train*.parquet")
    return {split: datasets.Dataset(_table(names)) for split, names in files.items()}


def _table(files: list[Path]) -> pa.Table:
    """The rows of several files, read by pyarrow: the library would first write a copy into its cache."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = []
    for file in files:
        try:
            tables.append(pq.ParquetFile(file).read())
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{file} cannot be read as parquet: {error}") from error
        if tables[-1].schema != tables[0].schema:
            raise ValueError(f"{file} has other columns or types than {files[0]}")
    return pa.concat_tables(tables)


def read_tables(
    view: View, tables: dict[str, Dataset], source: str, image_column: str, label_column: str
) -> Raw:
    """The labelled images of tables by split.

    Args:
        view: size and channels to bring the images to.
        tables: ``train``, and ``val`` and ``test`` where there are such.
        source: name for messages.
        image_column: column of the images; empty to find it.
        label_column: column of the labels; empty to find it.

    Raises:
        ValueError: columns that are missing, ambiguous or of the wrong type; labels that are missing or
            unknown to training; images that cannot be read.
    """
    image_column, label_column = _columns(tables, source, image_column, label_column)
    names, numbers = _classes(tables, label_column, source)
    splits = {}
    for split, table in tables.items():
        images = _cells(table, image_column, source)
        pixels = decode_all(
            len(images),
            lambda i, images=images: open_cell(images[i]),  # type: ignore[misc]
            lambda i, split=split: f"{split} #{i} of {source}",  # type: ignore[misc]
            height=view.height,
            width=view.width,
            channels=view.channels,
            white=view.white,
        )
        splits[split] = RawSplit(pixels, numbers[split])
    return Raw(splits, names)


def _columns(
    tables: dict[str, Dataset], source: str, image_column: str, label_column: str
) -> tuple[str, str]:
    """The columns of images and labels, found where they are not named."""
    columns = tables["train"].column_names
    image_column = image_column or _image_column(tables["train"], source)
    label_column = label_column or next((name for name in _LABELS if name in columns), "")
    if not label_column:
        raise ValueError(
            f"{source}: none of its columns is called {', '.join(_LABELS)}; set data.source.label_column to "
            f"one of {', '.join(columns)}"
        )
    for split, table in tables.items():
        for what, column in (("image_column", image_column), ("label_column", label_column)):
            if column not in table.column_names:
                where = f"the {split} split of {source}"
                raise ValueError(
                    f"data.source.{what}: {where} has {unknown('column', column, table.column_names)}"
                )
    return image_column, label_column


def _cells(table: Dataset, column: str, source: str) -> list[Any]:
    """The encoded images of a column: dictionaries with ``bytes`` or ``path``."""
    import datasets

    try:
        # A whole column at once: asked for one by one, rows cost a millisecond each.
        return list(table.cast_column(column, datasets.Image(decode=False))[column][:])
    except Exception as error:  # pyarrow's and the library's own, for a column of something else
        raise ValueError(
            f"data.source.image_column: column {column!r} of {source} ({table.features[column]}) does not "
            "hold encoded images; right are bytes, or a struct with bytes"
        ) from error


def open_cell(cell: Any) -> Image.Image:
    """The image of a cell, opened and not decoded.

    Raises:
        ValueError: the cell is empty.
    """
    if cell is None:
        raise ValueError("the cell is empty")
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
            f"{source}: cannot tell which column holds the images; set data.source.image_column to one of "
            f"{', '.join(table.column_names)}"
        )
    return found[0]


def _classes(
    tables: dict[str, Dataset], column: str, source: str
) -> tuple[tuple[str, ...], dict[str, NDArray[np.int64]]]:
    """Class names, and the labels of each split as numbers from 0."""
    labels = {split: list(table[column][:]) for split, table in tables.items()}
    for split, values in labels.items():
        for index, value in enumerate(values):
            if value is None or value != value:
                raise ValueError(
                    f"{split} #{index} of {source} has no label (NaN or empty) in column {column!r}"
                )
            if not isinstance(value, int | float | str):
                raise ValueError(
                    f"data.source.label_column: column {column!r} of {source} holds {type(value).__name__}s; "
                    "right is one number or word for each image"
                )
    names = getattr(tables["train"].features[column], "names", None)
    known = sorted(set(labels["train"])) if names is None else list(range(len(names)))
    for split, values in labels.items():
        strange = sorted(set(values) - set(known))
        if strange:
            raise ValueError(
                f"the {split} split of {source} has labels that are no class of its train split: "
                f"{', '.join(map(str, strange[:5]))}"
            )
    number = {value: index for index, value in enumerate(known)}
    return tuple(names or map(str, known)), {
        split: np.array([number[value] for value in values], dtype=np.int64)
        for split, values in labels.items()
    }
