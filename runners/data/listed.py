"""A CSV file that lists image files with their classes, labels or values."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from results.names import did_you_mean, unknown
from runners.data.decoded import kept
from runners.data.folder import check_place
from runners.data.images import decode_files
from runners.data.raw import Raw, RawSplit, View
from runners.data.tables import split_of

_FILES = ("file", "filename", "file_name", "image", "path")
_SPLIT = "split"
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """A line of the file: its number, the image, its split, and the cells of its labels."""

    number: int
    file: Path
    split: str
    cells: tuple[str, ...]


def read_csv(
    view: View,
    *,
    path: Path,
    images: str = "",
    file_column: str = "",
    label_columns: tuple[str, ...] = (),
    separator: Annotated[str, Field(min_length=1)] = ";",
) -> Raw:
    """Images that a CSV file names, with a class, labels or values beside each; its first line names columns.

    What the columns hold is the task's to say: of ``classification`` and ``binary`` one column has the class;
    of ``multi_label`` one column has the labels (``cat;dog``), or each label a column of zeros and ones; of
    ``regression`` each value has a column. A column ``split`` (train, val, test) says where an image belongs.

    Args:
        view: size and channels to bring the images to, and what labels are of.
        path: file.
        images: folder that the names of images begin at, seen from the file's own; empty takes that.
        file_column: column of the names; empty finds ``file``, ``filename``, ``file_name``, ``image`` or
            ``path``.
        label_columns: columns of the labels; empty takes all others.
        separator: text between the labels of an image, where they stand in one column.

    Raises:
        ValueError: no such file or columns; a line whose image is not there, or stands there twice, or whose
            label is missing, unknown to training, or no number; names the line.
    """
    check_place(path)
    settings = {
        "images": images,
        "file_column": file_column,
        "label_columns": ",".join(label_columns),
        "separator": separator,
    }
    columns, lines = _lines(path, images, file_column, label_columns)
    numbers = _numbered(view.answer, columns, lines, separator, path)
    state = hashlib.sha256()  # of the images: the source that is looked at for changes is the list alone
    for one in lines:
        about = one.file.stat()
        state.update(f"{one.file} {about.st_size} {about.st_mtime_ns}\n".encode())
    return kept(view, path, lambda: _read(view, lines, *numbers), **settings, files=state.hexdigest())


def _read(view: View, lines: Sequence[_Line], names: tuple[str, ...], labels: NDArray[Any]) -> Raw:
    splits = {}
    for split in ("train", "val", "test"):
        places = [place for place, one in enumerate(lines) if one.split == split]
        if not places:
            continue
        pixels = decode_files([lines[place].file for place in places], view)
        splits[split] = RawSplit(pixels, labels[places])
    return Raw(splits, names)


def _lines(
    path: Path, images: str, file_column: str, label_columns: Sequence[str]
) -> tuple[tuple[str, ...], list[_Line]]:
    """The label columns, and the lines with their files, all of which are there."""
    folder = path.parent / Path(images).expanduser()
    with path.open(newline="", encoding="utf-8-sig") as content:
        reader = csv.DictReader(content, skipinitialspace=True)
        found, seen = [], dict[str, int]()
        try:
            known = list(reader.fieldnames or ())
            file_column, columns = _columns(path, known, file_column, label_columns)
            for row in reader:
                found.append(_line(path, reader.line_num, row, folder, file_column, columns))
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}:{reader.line_num + 1}: {error}") from error
    for one in found:
        if (first := seen.setdefault(str(one.file), one.number)) != one.number:
            raise ValueError(
                f"{path}:{one.number}: {one.file.name} stands in line {first} already; right is one line an "
                f"image, with all its labels"
            )
    if not any(one.split == "train" for one in found):
        raise ValueError(f"{path} lists no training image")
    return columns, found


def _columns(
    path: Path, known: Sequence[str], file_column: str, label_columns: Sequence[str]
) -> tuple[str, tuple[str, ...]]:
    """The column of files and those of labels."""
    file_column = file_column or next((name for name in known if name.strip().lower() in _FILES), "")
    if not file_column:
        raise ValueError(
            f"{path}:1: none of its columns is called {', '.join(_FILES)}; set data.source.file_column to "
            f"one of {', '.join(known) or 'those of its first line, which is empty'}"
        )
    columns = tuple(label_columns) or tuple(name for name in known if name not in (file_column, _SPLIT))
    for key, names in (("file_column", (file_column,)), ("label_columns", columns)):
        for name in names:
            if name not in known:
                raise ValueError(f"{path}:1: data.source.{key}: {unknown('column', name, known)}")
            if known.count(name) > 1:
                raise ValueError(f"{path}:1: {known.count(name)} columns are called {name!r}")
    if not columns:
        raise ValueError(f"{path}:1: there is no column beside {file_column!r}; labels have one or more")
    return file_column, columns


def _line(
    path: Path,
    number: int,
    row: Mapping[str, Any],
    folder: Path,
    file_column: str,
    columns: Sequence[str],
) -> _Line:
    if None in row or any(row[name] is None for name in (file_column, *columns)):
        raise ValueError(f"{path}:{number}: it has another number of cells than the first line has names")
    name = row[file_column].strip()
    file = folder / name
    if not name or not file.is_file():
        near = "" if not file.parent.is_dir() else did_you_mean(file.name, _names(file.parent))
        raise ValueError(f"{path}:{number}: there is no image {file}.{near}")
    split = str(row.get(_SPLIT) or "train").strip()
    if split_of(split) == "":
        raise ValueError(f"{path}:{number}: split {split!r} is none of train, val, test")
    cells = tuple(row[name].strip() for name in columns)
    return _Line(number=number, file=file, split=split_of(split), cells=cells)


def _names(folder: Path) -> list[str]:
    return [one.name for one in folder.iterdir()]


def _numbered(
    answer: str, columns: tuple[str, ...], lines: Sequence[_Line], separator: str, path: Path
) -> tuple[tuple[str, ...], NDArray[Any]]:
    """The names of classes, labels or values, and the labels of all lines as numbers."""
    if answer == "values":
        return columns, np.array([_values(path, one, columns) for one in lines], dtype=np.float32)
    marks = {one.cells for one in lines} == {("0",), ("1",)}  # one column, of one label
    if answer == "labels" and (len(columns) > 1 or marks):
        return columns, np.array([_marks(path, one, columns) for one in lines], dtype=np.int64)
    if len(columns) > 1:
        raise ValueError(
            f"{path}: there are {len(columns)} columns of labels ({', '.join(columns[:5])}), and the task "
            f'takes one class an image; name it by data.source.label_columns, or set task = "multi_label" or '
            f'"regression"'
        )
    several = answer == "labels"
    given = [_words(one, separator) if several else one.cells for one in lines]
    names = _in_order(
        {name for one, words in zip(lines, given, strict=True) if one.split == "train" for name in words}
    )
    place = {name: index for index, name in enumerate(names)}
    for one, words in zip(lines, given, strict=True):
        if not several and not words[0]:
            raise ValueError(f"{path}:{one.number}: {one.file.name} has no class in column {columns[0]!r}")
        if strange := [name for name in words if name not in place]:
            kind = "label" if several else "class"
            raise ValueError(f"{path}:{one.number}: no training image has the {kind} {strange[0]!r}")
    if not several:
        return names, np.array([place[words[0]] for words in given], dtype=np.int64)
    found = np.zeros((len(lines), len(names)), dtype=np.int64)
    for row, words in zip(found, given, strict=True):
        row[[place[name] for name in words]] = 1
    return names, found


def _words(line: _Line, separator: str) -> tuple[str, ...]:
    return tuple(filter(None, (word.strip() for word in line.cells[0].split(separator))))


def _in_order(names: set[str]) -> tuple[str, ...]:
    """Names in order, numbers by their size."""
    names = names - {""}
    if all(name.isdecimal() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def _values(path: Path, line: _Line, columns: Sequence[str]) -> list[float]:
    found = []
    for name, cell in zip(columns, line.cells, strict=True):
        try:
            found.append(float(cell))
        except ValueError:
            raise ValueError(f"{path}:{line.number}: {name} is {cell!r}; right is a number") from None
        if not abs(found[-1]) <= _LARGEST:
            raise ValueError(f"{path}:{line.number}: {name} is {cell}; right is a finite number of 32 bits")
    return found


def _marks(path: Path, line: _Line, columns: Sequence[str]) -> list[int]:
    for name, cell in zip(columns, line.cells, strict=True):
        if cell not in ("0", "1"):
            raise ValueError(
                f"{path}:{line.number}: {name} is {cell!r}; right are 0 and 1, or one column with the names "
                f"of the labels"
            )
    return [int(cell) for cell in line.cells]
