"""From a recipe's data section to checked splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from runners.data.decoded import kept
from runners.data.digits import read_digits
from runners.data.folder import is_image_folder, read_folder
from runners.data.hub import read_hub
from runners.data.raw import Raw, RawSplit
from runners.data.splits import Preprocessing, Split, Splits, stratified
from runners.data.tables import read_parquet
from runners.recipe.schema import Data


def load_data(recipe: Data, seed: int, decoded: Path | None = None) -> Splits:
    """The images of a recipe, all in memory as uint8; splits the source lacks are made from training images.

    Args:
        recipe: its data section.
        seed: of the splits that have to be made.
        decoded: file that keeps what was decoded for the next time (not of the hub); None keeps nothing.

    Raises:
        ValueError: anything about the data that would spoil a run; the message names the file or image.
    """
    raw = _read(recipe, decoded)
    _check(raw, recipe.source)
    splits = dict(raw.splits)
    for missing, fraction in (("test", recipe.test_fraction), ("val", recipe.val_fraction)):
        if missing not in splits:
            whole = splits["train"]
            keep, off = stratified(whole.labels, fraction, seed, len(raw.classes))
            splits["train"] = RawSplit(whole.pixels[keep], whole.labels[keep])
            splits[missing] = RawSplit(whole.pixels[off], whole.labels[off])
    mean, std = _statistics(splits["train"].pixels)
    return Splits(
        train=_split(splits["train"]),
        val=_split(splits["val"]),
        test=_split(splits["test"]),
        classes=raw.classes,
        preprocessing=Preprocessing(
            channels=recipe.channels, height=recipe.height, width=recipe.width, mean=mean, std=std
        ),
    )


def _check(raw: Raw, source: str) -> None:
    """Checks that there are classes to tell apart, and images of each for every split."""
    if len(raw.classes) < 2:
        raise ValueError(
            f"{source} has {len(raw.classes)} class{'' if len(raw.classes) == 1 else 'es'}; telling classes "
            "apart needs two or more"
        )
    for split, content in raw.splits.items():
        if not len(content.labels):
            raise ValueError(f"the {split} split of {source} holds no image")
    missing = [split for split in ("test", "val") if split not in raw.splits]
    counts = np.bincount(raw.splits["train"].labels, minlength=len(raw.classes))
    few = [
        f"{name!r} ({count})"
        for name, count in zip(raw.classes, counts, strict=True)
        if count <= len(missing)
    ]
    if not few:
        return
    more = f" and {len(few) - 5} more" if len(few) > 5 else ""
    why = f" to take a {' and a '.join(missing)} split from them" if missing else ""
    raise ValueError(
        f"too few training images in {source}: every class needs {len(missing) + 1} or more{why}; "
        f"fewer are of {', '.join(few[:5])}{more}"
    )


def _read(recipe: Data, decoded: Path | None) -> Raw:
    height, width, channels = recipe.height, recipe.width, recipe.channels
    if recipe.source == "digits":
        return read_digits(height=height, width=width, channels=channels)
    path = Path(recipe.source).expanduser()
    if path.exists():
        if path.is_dir() and not any(path.iterdir()):
            raise ValueError(f"data.source {path} is an empty folder; put images in {path}/train/CLASS/")
        return kept(decoded, path, recipe, lambda: _read_files(path, recipe))
    if path.is_absolute() or recipe.source.startswith((".", "~")) or recipe.source.endswith(".parquet"):
        raise ValueError(f"data.source {recipe.source} does not exist")
    return read_hub(
        recipe.source,
        image_column=recipe.image_column,
        label_column=recipe.label_column,
        height=height,
        width=width,
        channels=channels,
    )


def _read_files(path: Path, recipe: Data) -> Raw:
    height, width, channels = recipe.height, recipe.width, recipe.channels
    if is_image_folder(path):
        return read_folder(path, height=height, width=width, channels=channels)
    return read_parquet(
        path,
        image_column=recipe.image_column,
        label_column=recipe.label_column,
        height=height,
        width=width,
        channels=channels,
    )


def _statistics(pixels: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel, of values in [0, 1], over about 10,000 images."""
    some = pixels[:: max(1, len(pixels) // 10_000)]
    # Counting values takes no memory; as floats the images would be eight times as large.
    counts = np.array([np.bincount(some[:, c].reshape(-1), minlength=256) for c in range(some.shape[1])])
    share = counts / counts.sum(axis=1, keepdims=True)  # (C, 256)
    values = np.arange(256) / 255
    mean = share @ values
    std = np.sqrt((share * (values - mean[:, None]) ** 2).sum(axis=1))
    # A channel without contrast is left as it is instead of divided by zero.
    return tuple(mean.round(6).tolist()), tuple(np.where(std > 1e-4, std, 1.0).round(6).tolist())


def _split(raw: RawSplit) -> Split:
    return Split(images=torch.from_numpy(raw.pixels), labels=torch.from_numpy(raw.labels))
