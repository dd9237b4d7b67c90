"""Mixup and cutmix: images and labels in the same proportion, from the generator alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from runners.training.batches import TrainingData, batches
from runners.training.mixing import Mix


def plain(n: int = 6, height: int = 8, width: int = 10) -> tuple[Tensor, Tensor]:
    """Image i is i everywhere, and of class i."""
    labels = torch.arange(n)
    return labels.float()[:, None, None, None].expand(n, 3, height, width).contiguous(), labels


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([(0.2, 0.0), (0.0, 1.0), (0.8, 1.0)]),
    st.integers(0, 2**31),
    st.integers(1, 7),
    st.integers(1, 17),
    st.integers(1, 17),
)
def test_labels_are_mixed_as_pixels_are(
    alphas: tuple[float, float], seed: int, n: int, height: int, width: int
) -> None:
    """Pixels that say what class they are from: their mean is the mean of the label's distribution."""
    images, labels = plain(n, height, width)
    mix = Mix(classes=n + 2, mixup=alphas[0], cutmix=alphas[1])
    mixed, target = mix(images, labels, np.random.default_rng(seed))
    assert mixed.shape == images.shape
    assert target.shape == (n, n + 2)
    torch.testing.assert_close(target.sum(dim=1), torch.ones(n))
    assert (target >= -1e-6).all()
    expected = target @ torch.arange(n + 2.0)
    torch.testing.assert_close(mixed.mean(dim=(1, 2, 3)), expected, rtol=1e-4, atol=1e-4)


def test_mixup_blends_whole_images_and_cutmix_pastes_a_box() -> None:
    images, labels = plain()
    blended, _ = Mix(classes=6, mixup=1.0)(images, labels, np.random.default_rng(0))
    assert all(len(image.unique()) == 1 for image in blended)
    pasted, target = Mix(classes=6, cutmix=1.0)(images, labels, np.random.default_rng(0))
    assert set(pasted[0].unique().tolist()) == {0.0, 5.0}
    foreign = pasted[0, 0] == 5.0
    rows, columns = foreign.any(dim=1), foreign.any(dim=0)
    assert torch.equal(foreign, rows[:, None] & columns[None])  # a box
    assert target[0, 5] == pytest.approx(foreign.float().mean().item())


def test_with_both_each_has_its_turn_and_what_is_given_stays_as_it_was() -> None:
    images, labels = plain()
    before = images.clone()
    mix = Mix(classes=6, mixup=0.5, cutmix=0.5)
    kinds = {len(mix(images, labels, np.random.default_rng(seed))[0][0].unique()) for seed in range(20)}
    assert kinds == {1, 2}
    assert torch.equal(images, before)


def test_the_share_follows_the_beta_distribution() -> None:
    images, labels = plain(2)
    mix = Mix(classes=2, mixup=0.4)
    kept = [mix(images, labels, np.random.default_rng(seed))[1][0, 0].item() for seed in range(800)]
    assert np.mean(kept) == pytest.approx(0.5, abs=0.05)
    assert np.var(kept) == pytest.approx(1 / (4 * (2 * 0.4 + 1)), abs=0.02)


def test_mixed_batches_follow_from_seed_epoch_and_index_alone() -> None:
    images, labels = plain(24)

    def prepare(images: Tensor, generator: torch.Generator | None) -> Tensor:
        return images

    def mixed(seed: int, start: int) -> list[tuple[Tensor, Tensor]]:
        mix = Mix(classes=24, mixup=0.4, cutmix=1.0)
        data = TrainingData(images=images, labels=labels, prepare=prepare, mix=mix)
        return list(batches(data, batch_size=6, seed=seed, epoch=1, start=start))

    for (x, y), (u, v) in zip(mixed(3, 0)[2:], mixed(3, 2), strict=True):
        assert torch.equal(x, u)
        assert torch.equal(y, v)
    assert not torch.equal(mixed(3, 0)[0][1], mixed(4, 0)[0][1])


def test_a_share_of_the_batches_is_mixed() -> None:
    images, labels = plain()
    mix = Mix(classes=6, cutmix=1.0, share=0.25)
    mixed = [
        not torch.equal(mix(images, labels, np.random.default_rng(seed))[1].max(dim=1).values, torch.ones(6))
        for seed in range(200)
    ]
    assert 0.12 < np.mean(mixed) < 0.35


def test_several_labels_and_values_are_mixed_in_the_same_proportion() -> None:
    images, _ = plain(2)
    marks = torch.tensor([[1, 0, 1], [1, 1, 0]])
    for labels in (marks, marks.float() * 50):
        mixed, target = Mix(classes=3, mixup=1.0)(images, labels, np.random.default_rng(0))
        share = mixed[:, 0, 0, 0]  # of the second image, which is one everywhere
        expected = labels[0] * (1 - share[:, None]) + labels[1] * share[:, None]
        torch.testing.assert_close(target, expected)
