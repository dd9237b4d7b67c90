"""A look at a data set before there is a recipe for it: sizes, channels, classes, and how many of each."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from runners.data.digits import read_digits
from runners.data.folder import check_place, image_files, is_image_folder
from runners.data.raw import View
from runners.data.tables import labelled_cells, open_cell

SPLITS = ("train", "val", "test")
_LOOKED_AT = 200  # images whose pixels are looked at, spread over the training images
_GREY_MODES = ("1", "L", "LA", "I", "F")


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a data set holds.

    Attributes:
        splits: number of images by split.
        counts: number of training images by class.
        heights: heights of the training images that were looked at, in pixels.
        widths: their widths.
        grey: whether all of these are grey, also where they are stored as RGB.
        deepest: largest value among those of more than 8 bits a channel; None where there are none.
    """

    splits: Mapping[str, int]
    counts: Mapping[str, int]
    heights: tuple[int, ...]
    widths: tuple[int, ...]
    grey: bool
    deepest: float | None = None

    @property
    def typical(self) -> tuple[int, int]:
        """Median height and width."""
        return round(statistics.median(self.heights)), round(statistics.median(self.widths))

    @property
    def imbalance(self) -> float:
        """Images of the most frequent class over those of the rarest."""
        return max(self.counts.values()) / max(1, min(self.counts.values()))


def look_at(source: str) -> Look:
    """Looks at a data set: ``digits``, a folder of images by class, parquet files.

    Raises:
        ValueError: there is nothing, or what is there is no data set; says how it has to lie.
    """
    if source == "digits":
        return _look_at_digits()
    path = Path(source).expanduser()
    check_place(path)
    if path.suffix.lower() in (".csv", ".npz"):
        raise ValueError(
            f"{path}: lists and arrays are not looked at; say the size of images, and what their labels "
            "are of, in a recipe (docs/tasks.md)"
        )
    if not is_image_folder(path):
        return _look_at_tables(path)
    return _look_at_folder(path)


def _look_at_digits() -> Look:
    raw = read_digits(View(channels=1, height=8, width=8))
    images, labels = raw.splits["train"].pixels, raw.splits["train"].labels
    counts = {name: int((labels == place).sum()) for place, name in enumerate(raw.classes)}
    return Look(splits={"train": len(images)}, counts=counts, heights=(8,), widths=(8,), grey=True)


def _look_at_folder(path: Path) -> Look:
    classes, files = image_files(path)
    train, labels = files["train"]
    counted = Counter(labels)
    return _seen(
        {split: len(files[split][1]) for split in SPLITS if split in files},
        {name: counted[place] for place, name in enumerate(classes)},
        len(train),
        lambda i: Image.open(train[i]),
        lambda i: str(train[i]),
    )


def _look_at_tables(path: Path) -> Look:
    names, tables = labelled_cells(path)
    cells, labels = tables["train"]
    counted = np.bincount(labels, minlength=len(names))
    return _seen(
        {split: len(tables[split][1]) for split in SPLITS if split in tables},
        dict(zip(names, map(int, counted), strict=True)),
        len(cells),
        lambda i: open_cell(cells[i]),
        lambda i: f"train #{i} of {path}",
    )


def _seen(
    splits: Mapping[str, int],
    counts: Mapping[str, int],
    n: int,
    read: Callable[[int], Image.Image],
    name: Callable[[int], str],
) -> Look:
    """Opens some of the training images."""
    some: Sequence[int] = sorted({int(i) for i in np.linspace(0, n - 1, min(n, _LOOKED_AT))})
    heights, widths, grey, deepest = [], [], True, None
    for place in some:
        try:
            with read(place) as image:
                widths.append(image.width)
                heights.append(image.height)
                if image.mode.startswith("I") or image.mode == "F":
                    deepest = max(deepest or 0.0, float(np.asarray(image).max()))
                elif grey and image.mode not in _GREY_MODES:
                    grey = _is_grey(image)
        except Exception as error:  # PIL's plug-ins raise nearly anything for damaged files
            raise ValueError(f"{name(place)} cannot be read ({error}); repair or remove it") from error
    return Look(
        splits=splits,
        counts=counts,
        heights=tuple(heights),
        widths=tuple(widths),
        grey=grey,
        deepest=deepest,
    )


def _is_grey(image: Image.Image) -> bool:
    """Whether the three channels of an image are equal."""
    pixels = np.asarray(image.convert("RGB"))
    return bool((pixels == pixels[..., :1]).all())
