"""Many images through a file that takes a few in a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

FREE = 256  # images in a call where the file takes any number


def in_calls(
    run: Callable[[NDArray[Any]], NDArray[Any]], images: NDArray[Any], batch: int | None
) -> NDArray[np.float32]:
    """The outputs for all images, (N, ...) float32.

    Args:
        run: one call, (B, ...) to (B, ...).
        images: (N, ...), at least one.
        batch: images that each call has to have, the last one filled up with zeros; None where any number
            will do.

    Raises:
        ValueError: there are no images.
    """
    if not len(images):
        raise ValueError("there are no images to run")
    size, outputs = batch or FREE, []
    for start in range(0, len(images), size):
        part = np.ascontiguousarray(images[start : start + size], dtype=np.float32)
        if batch and len(part) < batch:
            part = np.concatenate([part, np.zeros((batch - len(part), *part.shape[1:]), np.float32)])
        outputs.append(np.asarray(run(part), dtype=np.float32))
    return np.concatenate(outputs)[: len(images)]
