"""Epochs in which rare classes come as often as frequent ones."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from runners.data.balance import drawn_by_class
from runners.data.splits import stratified
from runners.training.batches import batches
from tests.runners.training.test_loop import data

LABELS = torch.tensor([0] * 900 + [1] * 90 + [2] * 10)


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_classes_come_in_proportion_to_a_power_of_their_size(balance: float) -> None:
    drawing = torch.Generator().manual_seed(0)
    drawn = drawn_by_class(torch.randperm(1000, generator=drawing), LABELS, balance, drawing)
    sizes = [count ** (1 - balance) for count in (900, 90, 10)]
    expected = [1000 * size / sum(sizes) for size in sizes]
    assert torch.bincount(LABELS[drawn]).tolist() == pytest.approx(expected, abs=60)
    for label, size in enumerate((900, 90, 10)):  # and within a class every image as often, up to one time
        often = torch.bincount(drawn, minlength=1000)[label == LABELS].float()
        assert often.max() - often.min() <= 1.0
        assert float(often.mean()) == pytest.approx(expected[label] / size, abs=60 / size)


def test_batches_are_mixed_and_follow_from_seed_and_epoch() -> None:
    known = data(128)
    rare = torch.where(torch.arange(128) < 120, 0, 1)
    even = replace(known, labels=rare, balance=1.0)
    first = [label for _, label in batches(even, batch_size=32, seed=0, epoch=0)]
    again = [label for _, label in batches(even, batch_size=32, seed=0, epoch=0, start=2)]
    assert torch.equal(first[2], again[0])
    assert all(8 <= int(label.sum()) <= 24 for label in first)  # no batch is of one image many times
    with pytest.raises(ValueError, match="data.balance is for one class an image"):
        replace(known, labels=torch.zeros(128, 3), balance=0.5)


def test_splits_of_several_labels_keep_the_rarest_on_both_sides() -> None:
    marks = torch.zeros(200, 2, dtype=torch.int64)
    marks[:150, 0] = 1
    marks[[3, 7, 9, 12], 1] = 1
    for seed in range(5):
        kept, off = stratified(marks.numpy(), 0.25, seed, 2)
        assert (len(kept), len(off)) == (150, 50) or abs(len(off) - 50) <= 1
        assert int(marks[torch.from_numpy(off)][:, 1].sum()) == 1
        assert sorted([*kept, *off]) == list(range(200))
