"""A recipe's data section made into checked splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from results.records import FROM_ARRAYS, FROM_PICTURES, Preprocessing
from runners.data.balance import check_balanced
from runners.data.raw import Raw, RawSplit, View
from runners.data.sources import SOURCES, resolved
from runners.data.splits import Split, Splits, stratified
from runners.recipe.schema import Data


def load_data(recipe: Data, seed: int, decoded: Path | None = None, *, answer: str = "class") -> Splits:
    """The images of a recipe, all in memory as uint8; splits the source lacks are made from training images.

    Args:
        recipe: its data section.
        seed: decides the splits that have to be made.
        decoded: file that keeps what was decoded from files for the next time; None keeps nothing.
        answer: what labels are of, the kind of the task's ``answer``.

    Raises:
        ValueError: anything about the data that would spoil a run; the message names the file or image.
    """
    view = View(
        channels=recipe.channels,
        height=recipe.height,
        width=recipe.width,
        answer=answer,
        white=recipe.white,
        decoded=decoded,
    )
    source = resolved(recipe.source)
    raw = SOURCES.configured(source.kind, source.settings)(view)
    _check(raw, recipe.source.kind)
    if recipe.balance:
        check_balanced(torch.from_numpy(raw.splits["train"].labels))
    splits = dict(raw.splits)
    for missing, fraction in (("test", recipe.test_fraction), ("val", recipe.val_fraction)):
        if missing not in splits:
            whole = splits["train"]
            keep, off = stratified(whole.labels, fraction, seed, len(raw.classes))
            if not len(off):  # of several labels, where no two images have the same for their rarest
                raise ValueError(
                    f"too few training images in {recipe.source.kind}: the {missing} split is empty"
                )
            splits["train"] = RawSplit(whole.pixels[keep], whole.labels[keep])
            splits[missing] = RawSplit(whole.pixels[off], whole.labels[off])
    mean, std = _statistics(splits["train"].pixels)
    return Splits(
        train=_split(splits["train"]),
        val=_split(splits["val"]),
        test=_split(splits["test"]),
        classes=raw.classes,
        preprocessing=Preprocessing(
            channels=recipe.channels,
            height=recipe.height,
            width=recipe.width,
            mean=mean,
            std=std,
            white=recipe.white,
            decode=FROM_PICTURES if recipe.channels in (1, 3) else FROM_ARRAYS,
        ),
    )


def _check(raw: Raw, source: str) -> None:
    """Checks that there is something to learn, and images of each class for every split."""
    several = raw.splits["train"].labels.ndim > 1
    if not several and len(raw.classes) < 2:
        raise ValueError(
            f"{source} has {len(raw.classes)} class{'' if len(raw.classes) == 1 else 'es'}; telling classes "
            "apart needs two or more"
        )
    for split, content in raw.splits.items():
        if not len(content.labels):
            raise ValueError(f"the {split} split of {source} holds no image")
    missing = [split for split in ("test", "val") if split not in raw.splits]
    if several:
        if (n := len(raw.splits["train"].labels)) <= len(missing):
            raise ValueError(f"{source} has {n} training images, too few to take other splits from")
        return
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
