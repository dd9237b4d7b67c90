"""The share of right answers, for arrays and for tensors: the one place that counts them."""

from __future__ import annotations

from typing import Any


def top1(outputs: Any, labels: Any) -> float:
    """Top-1 accuracy in [0, 1]: share of images whose largest output is that of their label.

    Args:
        outputs: Logits, (N, classes), an array or a tensor.
        labels: Class indices, (N,), integers of the same kind of array.

    Raises:
        ValueError: no images, or shapes that do not belong together: labels (N, 1), as the column of a table
            has them, would be compared with every image.
    """
    if outputs.ndim != 2 or tuple(labels.shape) != tuple(outputs.shape[:1]):
        raise ValueError(
            f"accuracy needs outputs (images, classes) and labels (images,), got shapes "
            f"{tuple(outputs.shape)} and {tuple(labels.shape)}"
        )
    if len(labels) == 0:
        raise ValueError("there are no images to measure the accuracy on")
    return int((outputs.argmax(axis=1) == labels).sum()) / len(labels)
