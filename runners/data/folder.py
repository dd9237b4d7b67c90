"""A folder of images: ``train/CLASS/*.jpg``, with ``val`` and ``test`` folders where there are such."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from runners.data.decoded import kept
from runners.data.images import decode_files
from runners.data.raw import Raw, RawSplit, View

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
_SPLITS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}


def is_image_folder(path: Path) -> bool:
    """Whether this looks like ``train/CLASS/...`` and not like a folder of parquet files."""
    return path.is_dir() and (bool(_classes(path / "train")) or not any(path.rglob("*.parquet")))


def read_folder(view: View, *, path: Path) -> Raw:
    """Images in folders by class: ``train/CLASS/*.jpg``, and ``val`` and ``test`` where there are such.

    Args:
        view: size and channels to bring them to.
        path: folder that holds ``train``.

    Raises:
        ValueError: no such folder, or an empty one; no ``train`` folder, no classes, a class with no image, a
            class unknown to training, an image that cannot be read.
    """
    check_place(path)
    return kept(view, path, lambda: _read(view, path))


def _read(view: View, path: Path) -> Raw:
    classes, found = image_files(path)
    splits = {
        split: RawSplit(decode_files(files, view), np.array(labels, dtype=np.int64))
        for split, (files, labels) in found.items()
    }
    return Raw(splits, tuple(classes))


def image_files(path: Path) -> tuple[list[str], dict[str, tuple[list[Path], list[int]]]]:
    """The classes of a folder of images, and the files of each split with their labels.

    Raises:
        ValueError: as ``read_folder``; images are not opened.
    """
    places = {
        split: next((path / name for name in names if (path / name).is_dir()), None)
        for split, names in _SPLITS.items()
    }
    train = places["train"]
    if train is None:
        hint = ""
        if beside := [name for name in _classes(path) if any(map(_is_image, (path / name).iterdir()))]:
            hint = f"; where {', '.join(beside[:3])} are classes, move them into {path}/train/"
        raise ValueError(
            f"{path} has no folder train/ with one folder of images a class ({path}/train/CLASS/*.jpg), and "
            f"no parquet files{hint}"
        )
    classes = _classes(train)
    if len(classes) < 2:
        raise ValueError(
            f"{train} holds {len(classes)} class folder(s); at least two are needed: {train}/CLASS/*.jpg"
        )
    return classes, {
        split: _files(place, classes, complete=split == "train")
        for split, place in places.items()
        if place is not None
    }


def check_place(path: Path) -> None:
    """Refuses a path of data that leads nowhere.

    Raises:
        ValueError: there is nothing, or an empty folder.
    """
    if not path.exists():
        raise ValueError(f"data.source {path} does not exist")
    if path.is_dir() and not any(path.iterdir()):
        raise ValueError(f"data.source {path} is an empty folder; put images in {path}/train/CLASS/")


def _classes(place: Path) -> list[str]:
    """The class folders of a split, sorted; not those that programs hide (``.ipynb_checkpoints``)."""
    if not place.is_dir():
        return []
    return sorted(entry.name for entry in place.iterdir() if entry.is_dir() and entry.name[0] != ".")


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and file.name[0] != "."


def _files(place: Path, classes: list[str], *, complete: bool) -> tuple[list[Path], list[int]]:
    """The image files of one split with their labels, sorted by name."""
    strangers = [name for name in _classes(place) if name not in classes]
    if strangers:
        raise ValueError(f"{place} has classes that train/ has not: {', '.join(strangers)}")
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        folder = place / name
        found = sorted(file for file in folder.rglob("*") if _is_image(file)) if folder.is_dir() else []
        if not found and complete:
            raise ValueError(
                f"class {name!r} has no image in {folder}; add some or remove the folder. "
                f"Images end in {', '.join(sorted(SUFFIXES))}"
            )
        files += found
        labels += [label] * len(found)
    if not files:
        raise ValueError(f"{place} holds no image")
    return files, labels
