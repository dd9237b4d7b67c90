"""Images and labels as arrays of a NumPy file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from runners.data.decoded import kept
from runners.data.folder import check_place
from runners.data.raw import Raw, RawSplit, View

_SPLITS = ("train", "val", "test")


def read_npz(view: View, *, path: Path) -> Raw:
    """Arrays of a NumPy file: ``images`` and ``labels``, or ``train_images``, ``train_labels``, ``val_``...

    Images are (N, height, width) or (N, height, width, channels), or channels first; of 8 bits, or of
    anything else in the range from 0 to ``data.white``. Labels are classes, (N,) or (N, 1); zeros and ones,
    (N, labels); or numbers, (N,) or (N, values); which of these is the task's to say. An array ``classes``
    has their names in the order of the outputs; labels that are words are among them.

    Args:
        view: size and channels to bring the images to, and what labels are of.
        path: file.

    Raises:
        ValueError: no such file, arrays that are missing, or of another shape, type or range.
    """
    check_place(path)
    return kept(view, path, lambda: _read(view, path))


def _read(view: View, path: Path) -> Raw:
    try:
        with np.load(path, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
    except Exception as error:  # NumPy's, and those of zip files that are damaged or none
        raise ValueError(f"{path} cannot be read as arrays of NumPy: {error}") from error
    found = _splits(arrays, path)
    labels = {
        split: _labels(f"{key} of {path}", view.answer, values) for split, (_, key, values) in found.items()
    }
    names, numbers = _named(path, view.answer, labels, arrays.get("classes"))
    return Raw(
        {
            split: RawSplit(
                _pixels(f"{key.replace('labels', 'images')} of {path}", images, view), numbers[split]
            )
            for split, (images, key, _) in found.items()
        },
        names,
    )


def _splits(
    arrays: Mapping[str, NDArray[Any]], path: Path
) -> dict[str, tuple[NDArray[Any], str, NDArray[Any]]]:
    """Images, key of the labels, and labels of each split."""
    alone = "images" in arrays
    found = {}
    for split in _SPLITS:
        begin = "" if alone and split == "train" else f"{split}_"
        images, labels = arrays.get(f"{begin}images"), arrays.get(f"{begin}labels")
        if images is None and labels is None and split != "train":
            continue
        if images is None or labels is None:
            raise ValueError(
                f"{path} has {', '.join(arrays) or 'nothing'}; needed are images and labels, or train_images "
                f"and train_labels (val_ and test_ where there are such)"
            )
        if images.shape[:1] != labels.shape[:1] or not images.ndim:
            raise ValueError(
                f"{path} has {begin}images of shape {images.shape} and {begin}labels of {labels.shape}; both "
                f"begin with the number of images"
            )
        found[split] = (images, f"{begin}labels", labels)
    return found


def _labels(where: str, answer: str, given: NDArray[Any]) -> NDArray[Any]:
    """Labels in the shape of their kind: (N,) for a class, else (N, ...)."""
    values = given[:, 0] if given.ndim == 2 and given.shape[1] == 1 and answer != "labels" else given
    if answer == "values":
        values = values[:, None] if values.ndim == 1 else values
        if values.ndim != 2 or values.dtype.kind not in "iuf":
            raise ValueError(
                f"{where} are {given.dtype} of {given.shape}; right are numbers, (N,) or (N, values)"
            )
        with np.errstate(over="ignore"):
            single = values.astype(np.float32)
        if odd := np.flatnonzero(~np.isfinite(single).all(axis=1)).tolist():
            raise ValueError(
                f"{where}: #{odd[0]} is no finite number of 32 bits (NaN, infinity, or too large)"
            )
        return single
    if answer == "labels":
        if values.ndim != 2 or values.dtype.kind not in "iufb" or not np.isin(values, (0, 1)).all():
            raise ValueError(
                f"{where} are {given.dtype} of {given.shape}; right are zeros and ones, (N, labels)"
            )
        return values.astype(np.int64)
    if values.ndim != 1 or values.dtype.kind not in "iubU":
        raise ValueError(
            f"{where} are {given.dtype} of {given.shape}; right is one class an image, a whole number or a "
            f'word, (N,); task = "multi_label" takes zeros and ones (N, labels), "regression" numbers'
        )
    return values


def _named(
    path: Path, answer: str, labels: Mapping[str, NDArray[Any]], classes: NDArray[Any] | None
) -> tuple[tuple[str, ...], dict[str, NDArray[Any]]]:
    """The names, and the labels of each split as numbers."""
    names = None if classes is None else tuple(map(str, classes.ravel().tolist()))
    if names is not None and len(set(names)) < len(names):
        raise ValueError(f"{path}: two of classes have the same name")
    train = labels["train"]
    if train.ndim > 1:
        kind = "label" if answer == "labels" else "value"
        names = names or tuple(f"{kind}-{place}" for place in range(train.shape[1]))
        for split, values in labels.items():
            if values.shape[1] != len(names):
                raise ValueError(
                    f"{path} has {values.shape[1]} {kind}s an image in {split}, and names of {len(names)}"
                )
        return names, dict(labels)
    known: Sequence[Any] = np.unique(train).tolist()
    if names is not None:
        known = names if train.dtype.kind == "U" else range(len(names))
    place = {value: index for index, value in enumerate(known)}
    for split, values in labels.items():
        if strange := sorted(set(values.tolist()) - set(known)):
            where = "no class of its training images" if names is None else "not among its classes"
            raise ValueError(
                f"{path} has {split} labels that are {where}: {', '.join(map(str, strange[:5]))}"
            )
    numbers = {
        split: np.array([place[one] for one in values.tolist()], dtype=np.int64)
        for split, values in labels.items()
    }
    return names or tuple(map(str, known)), numbers


def _pixels(where: str, images: NDArray[Any], view: View) -> NDArray[np.uint8]:
    """Images as uint8 (N, C, H, W) of the size that is wanted."""
    ordered = images[..., None] if images.ndim == 3 and view.channels == 1 else images
    if ordered.ndim != 4 or view.channels not in (ordered.shape[3], ordered.shape[1]):
        raise ValueError(
            f"{where} have shape {images.shape}; right are (N, height, width) or with channels at the end "
            f"or before them, of which data.channels are {view.channels}"
        )
    if ordered.shape[3] == view.channels:
        ordered = ordered.transpose(0, 3, 1, 2)
    eight = _eight_bits(where, ordered, view.white)
    if eight.shape[2:] == (view.height, view.width):
        return np.ascontiguousarray(eight)
    result = np.empty((*eight.shape[:2], view.height, view.width), dtype=np.uint8)
    for image, channel in np.ndindex(*eight.shape[:2]):
        plane = Image.fromarray(np.ascontiguousarray(eight[image, channel]))
        result[image, channel] = ImageOps.fit(plane, (view.width, view.height), Image.Resampling.BILINEAR)
    return result


def _eight_bits(where: str, images: NDArray[Any], white: float | None) -> NDArray[np.uint8]:
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind not in "iuf" or not images.size:
        raise ValueError(f"{where} are {images.dtype} of {images.shape}, which are no images")
    if not np.isfinite(images).all():
        odd = np.flatnonzero(~np.isfinite(images).all(axis=(1, 2, 3)))[0]
        raise ValueError(f"{where}: #{odd} has NaN or infinity among its pixels")
    low, high = images.min(), images.max()
    if white is None:
        raise ValueError(
            f"{where} are {images.dtype} with values from {low:g} to {high:g}; set data.white to the value "
            f"of full intensity, such as 4095 (12 bits), 65535 (16 bits) or 1"
        )
    if low < 0 or high > white:
        raise ValueError(
            f"{where} have values from {low:g} to {high:g}; right are 0 to {white:g} (data.white)"
        )
    result = np.empty(images.shape, dtype=np.uint8)
    for place, image in enumerate(images):  # one by one: as float64 all would be eight times as large
        result[place] = (image * (255.0 / white)).round()
    return result
