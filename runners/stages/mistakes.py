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
_SIDE = 192  # pixels: twice those that the report shows
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
    wrong = np.flatnonzero(predicted != labels)
    pairs, often = np.unique(labels[wrong] * n + predicted[wrong], return_counts=True)
    order = np.argsort(-often, kind="stable")[:_PAIRS]
    raised = np.exp(outputs[wrong].astype(np.float64) - outputs[wrong].max(axis=1, keepdims=True))
    confidence = raised.max(axis=1) / raised.sum(axis=1)
    worst = np.argsort(-confidence, kind="stable")[:_PICTURES]
    shown = images.shape[1] in (1, 3) and images.shape[2] > 1
    return Mistakes(
        classes=tuple(classes),
        images=tuple(map(int, np.bincount(labels, minlength=n))),
        right=tuple(map(int, np.bincount(labels[predicted == labels], minlength=n))),
        confused=tuple(
            Confused(label=int(pairs[one] // n), predicted=int(pairs[one] % n), images=int(often[one]))
            for one in order
        ),
        wrong=tuple(
            WrongImage(
                label=int(labels[wrong[one]]),
                predicted=int(predicted[wrong[one]]),
                confidence=round(float(confidence[one]), 4),
                png=_png(images[wrong[one]]),
            )
            for one in (worst if shown else ())
        ),
    )


def _png(image: NDArray[np.uint8]) -> str:
    """A picture uint8 (C, H, W), grey or RGB; a large one is made smaller."""
    content = io.BytesIO()
    picture = Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))
    picture.thumbnail((_SIDE, _SIDE))
    picture.save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()
