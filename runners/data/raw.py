"""What a data source is asked for, and what it gives: its splits, decoded, before missing ones are made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The images as a run wants them; every source takes one.

    Attributes:
        channels: 1 (grey) or 3 (RGB).
        height: pixels of the network's input.
        width: pixels of the network's input.
        white: value that means full intensity in images of more than 8 bits a channel; None refuses them.
        decoded: file for ``runners.data.decoded.kept`` to keep decoded images in; None keeps nothing.
    """

    channels: int
    height: int
    width: int
    white: float | None = None
    decoded: Path | None = None


@dataclass(frozen=True, slots=True)
class RawSplit:
    """Pixels uint8 (N, C, H, W) and labels int64 (N,)."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Raw:
    """Splits by name (``train``, and ``val`` and ``test`` where the source brings them), and class names."""

    splits: dict[str, RawSplit]
    classes: tuple[str, ...]
