"""Batches and learning rates: all follow from where the training is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from runners.training.batches import batches, channels_last
from runners.training.schedule import warmup_cosine
from tests.runners.training.test_loop import data


def test_batches_follow_from_seed_epoch_and_index_alone() -> None:
    known = data(130)
    whole = list(batches(known, batch_size=32, seed=3, epoch=2))
    rest = list(batches(known, batch_size=32, seed=3, epoch=2, start=2))
    assert len(whole) == 4
    for (x, y), (u, v) in zip(whole[2:], rest, strict=True):
        assert torch.equal(x, u)
        assert torch.equal(y, v)
    other = next(iter(batches(known, batch_size=32, seed=3, epoch=3)))
    assert not torch.equal(other[1], whole[0][1])


def test_images_without_as_many_labels_are_refused() -> None:
    known = data(8)
    with pytest.raises(ValueError, match="8 images came with 7 labels"):
        replace(known, labels=known.labels[:7])


def test_channels_last_moves_nothing() -> None:
    images = torch.randn(2, 1, 4, 5)
    assert torch.equal(channels_last(images), images)
    assert channels_last(torch.randn(2, 3, 4, 5)).is_contiguous(memory_format=torch.channels_last)
    signals = torch.randn(2, 3, 50)
    assert channels_last(signals) is signals


def test_warmup_then_cosine() -> None:
    rates = [warmup_cosine(step, total=100, warmup=10) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert rates[99] < 0.001
