"""What a file gets wrong on the test images."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from results.records import Confused, Mistakes, WrongImage

_PICTURES = 12
_PAIRS = 1000  # of classes that are confused; a thousand classes have a million


def mistakes_of(
    outputs: NDArray[Any], labels: NDArray[Any], images: NDArray[np.uint8], classes: Sequence[str]
) -> Mistakes | None:
    """The mistakes of a classifier; None for what says no class of each image.

    Args:
        outputs: logits of a file, (N, classes).
        labels: right classes, int (N,).
        images: pictures as they are stored, uint8 (N, C, H, W).
        classes: names.
    """
    n = len(classes)
    if outputs.ndim != 2 or outputs.shape[1] != n or labels.ndim != 1 or labels.dtype.kind not in "iu":
        return None
    predicted = outputs.argmax(axis=1)
    pairs = np.bincount(labels * n + predicted, minlength=n * n).reshape(n, n)
    apart = pairs * (1 - np.eye(n, dtype=pairs.dtype))
    order = np.argsort(-apart, axis=None, kind="stable")[: min(_PAIRS, np.count_nonzero(apart))]
    raised = np.exp(outputs.astype(np.float64) - outputs.max(axis=1, keepdims=True))
    confidence = raised.max(axis=1) / raised.sum(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:_PICTURES]
    shown = images.shape[1] in (1, 3) and images.shape[2] > 1
    return Mistakes(
        classes=tuple(classes),
        images=tuple(map(int, pairs.sum(axis=1))),
        right=tuple(map(int, pairs.diagonal())),
        confused=tuple(
            Confused(label=int(one // n), predicted=int(one % n), images=int(apart.flat[one]))
            for one in order
        ),
        wrong=tuple(
            WrongImage(
                label=int(labels[place]),
                predicted=int(predicted[place]),
                confidence=round(float(confidence[place]), 4),
                png=_png(images[place]),
            )
            for place in (worst if shown else ())
        ),
    )


def _png(image: NDArray[np.uint8]) -> str:
    """A picture uint8 (C, H, W), grey or RGB."""
    content = io.BytesIO()
    Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()
