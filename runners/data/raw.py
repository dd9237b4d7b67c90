"""What a source gives: the splits it brings, decoded, before missing ones are made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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
