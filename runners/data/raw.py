"""What a data source is asked for, and what it gives: its splits, decoded, before missing ones are made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The images as a run wants them; every source takes one.

    Attributes:
        channels: 1 (grey), 3 (RGB), or as many as arrays have.
        height: pixels of the network's input.
        width: pixels of the network's input.
        answer: what labels are of: ``class`` (or ``binary``), ``labels`` or ``values``; see
            ``results.records.Answer``. Sources that have classes alone give these.
        white: value that means full intensity in images of more than 8 bits a channel; None refuses them.
        decoded: file for ``runners.data.decoded.kept`` to keep decoded images in; None keeps nothing.
    """

    channels: int
    height: int
    width: int
    answer: str = "class"
    white: float | None = None
    decoded: Path | None = None


@dataclass(frozen=True, slots=True)
class RawSplit:
    """Pixels uint8 (N, C, H, W), and labels: the class of each, int64 (N,); zeros and ones for each label,
    int64 (N, labels); or numbers, float32 (N, values)."""

    pixels: NDArray[np.uint8]
    labels: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Raw:
    """Splits by name (``train``, and ``val`` and ``test`` where the source brings them), and the names of
    classes, labels or values."""

    splits: dict[str, RawSplit]
    classes: tuple[str, ...]
