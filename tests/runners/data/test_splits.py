"""Augmentation moves pixels as stated and repeats from its generator; splits keep the share of each class."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from results.records import Preprocessing
from runners.data.splits import Prepare, stratified
from runners.training.batches import TrainingData, batches, generator


def prepare(
    crop_padding: int = 0, flip: bool = False, channels: int = 1, size: tuple[int, int] = (6, 6)
) -> Prepare:
    """Leaves values as shares of 255, so that pixels can be told apart afterwards."""
    preprocessing = Preprocessing(
        channels=channels, height=size[0], width=size[1], mean=(0.0,) * channels, std=(1.0,) * channels
    )
    return Prepare(preprocessing=preprocessing, crop_padding=crop_padding, flip=flip)


def numbered(n: int, channels: int, height: int, width: int) -> Tensor:
    """Images whose pixels all differ, none of them black."""
    image = torch.arange(1, 1 + channels * height * width, dtype=torch.uint8).view(channels, height, width)
    return image.expand(n, -1, -1, -1).clone()


def values(images: Tensor) -> Tensor:
    return (images * 255).round().to(torch.uint8)


def shifted(image: Tensor, down: int, right: int) -> Tensor:
    """An image moved, black coming in."""
    moved = torch.zeros_like(image)
    _, height, width = image.shape
    moved[:, max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)] = image[
        :, max(0, -down) : height + min(0, -down), max(0, -right) : width + min(0, -right)
    ]
    return moved


@settings(max_examples=30, deadline=None)
@given(
    padding=st.integers(1, 3),
    channels=st.sampled_from((1, 3)),
    height=st.integers(4, 8),
    width=st.integers(4, 8),
    seed=st.integers(0, 99),
)
def test_a_crop_is_a_shift_with_black_coming_in(
    padding: int, channels: int, height: int, width: int, seed: int
) -> None:
    images = numbered(5, channels, height, width)
    moved = values(prepare(padding, channels=channels, size=(height, width))(images, generator(seed)))
    shifts = [
        shifted(images[0], down, right)
        for down in range(-padding, padding + 1)
        for right in range(-padding, padding + 1)
    ]
    for image in moved:
        assert sum(torch.equal(image, candidate) for candidate in shifts) == 1


def test_every_shift_occurs_about_equally_often() -> None:
    moved = values(prepare(1)(numbered(1800, 1, 6, 6), generator(0)))
    _, counts = torch.unique(moved.flatten(1), dim=0, return_counts=True)
    assert len(counts) == 9
    assert (counts - 200).abs().max() < 60


def test_a_signal_moves_along_its_row() -> None:
    signals = numbered(60, 1, 1, 9)
    moved = values(prepare(2, size=(1, 9))(signals, generator(0)))
    found = {tuple(one.flatten().tolist()) for one in moved}
    assert found == {tuple(shifted(signals[0], 0, right).flatten().tolist()) for right in range(-2, 3)}


def test_a_flip_mirrors_left_and_right_half_of_the_time() -> None:
    images = numbered(1000, 3, 4, 5)
    moved = values(prepare(flip=True, channels=3, size=(4, 5))(images, generator(1)))
    kept = (moved == images).flatten(1).all(dim=1)
    mirrored = (moved == images.flip(3)).flatten(1).all(dim=1)
    assert (kept ^ mirrored).all()
    assert 430 < int(mirrored.sum()) < 570


def test_augmentation_repeats_from_its_generator() -> None:
    images = numbered(50, 1, 6, 6)
    augment = prepare(2, flip=True)
    assert torch.equal(augment(images, generator(3, 1)), augment(images, generator(3, 1)))
    assert not torch.equal(augment(images, generator(3, 1)), augment(images, generator(3, 2)))


def test_without_a_generator_nothing_moves() -> None:
    images = numbered(4, 1, 6, 6)
    assert torch.equal(values(prepare(2, flip=True)(images, None)), images)


def test_the_stored_images_are_never_changed() -> None:
    images = numbered(4, 1, 6, 6)
    prepare(2, flip=True)(images, generator(0))
    assert torch.equal(images, numbered(4, 1, 6, 6))


def test_labels_stay_with_their_images() -> None:
    images = torch.arange(1, 101, dtype=torch.uint8).view(100, 1, 1, 1).expand(-1, 1, 6, 6).clone()
    labels = torch.arange(1, 101)
    seen = []
    data = TrainingData(images=images, labels=labels, prepare=prepare(1, flip=True))
    for batch, target in batches(data, batch_size=10, seed=0, epoch=0):
        assert torch.equal(values(batch)[:, 0, 2, 2].long(), target)
        seen += target.tolist()
    assert sorted(seen) == labels.tolist()


def test_each_channel_has_its_own_mean_and_deviation() -> None:
    preprocessing = Preprocessing(channels=3, height=2, width=2, mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0))
    images = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    made = Prepare(preprocessing=preprocessing)(images, None)
    assert made.dtype == torch.float32
    assert made[0, :, 0, 0].tolist() == pytest.approx([1.8, 0.8, 0.35])


@settings(max_examples=50, deadline=None)
@given(
    counts=st.lists(st.integers(2, 40), min_size=2, max_size=6),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 9),
)
def test_a_split_takes_its_share_of_each_class_and_leaves_some(
    counts: list[int], fraction: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    keep, off = stratified(labels, fraction, seed, len(counts))
    assert sorted([*keep, *off]) == list(range(len(labels)))
    for label, count in enumerate(counts):
        taken = int((labels[off] == label).sum())
        assert 1 <= taken <= count - 1
        assert abs(taken - fraction * count) <= 1.01
    again = stratified(labels, fraction, seed, len(counts))
    assert np.array_equal(off, again[1])
