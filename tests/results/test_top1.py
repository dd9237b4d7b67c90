"""The one count of right answers: the same for arrays and tensors, and never a share above one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from results.statistics import top1

LOGITS = np.array([[3.0, 1.0, 2.0], [0.0, 5.0, 1.0], [1.0, 0.0, 4.0], [2.0, 1.0, 0.0]], dtype=np.float32)
LABELS = np.array([0, 1, 1, 0])


def test_it_is_the_share_of_largest_outputs_that_are_right() -> None:
    assert top1(LOGITS, LABELS) == 0.75
    assert top1(torch.from_numpy(LOGITS), torch.from_numpy(LABELS)) == 0.75


@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy])
@pytest.mark.parametrize("labels", [LABELS[:, None], LABELS[None], LABELS[:3], np.eye(3)[LABELS]])
def test_labels_of_another_shape_are_refused(convert, labels) -> None:  # type: ignore[no-untyped-def]
    """A column (N, 1) would be compared with every image, and come to several hundred per cent."""
    with pytest.raises(ValueError, match=r"labels \(images,\), got shapes \(4, 3\) and"):
        top1(convert(LOGITS), convert(labels))


def test_outputs_of_another_shape_and_no_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"outputs \(images, classes\)"):
        top1(LOGITS.argmax(axis=1), LABELS)
    with pytest.raises(ValueError, match="no images"):
        top1(LOGITS[:0], LABELS[:0])
