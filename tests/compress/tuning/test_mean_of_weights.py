"""Means of weights: on the line between two networks, and the share that goes by entropy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from compress.tuning.mean_of_weights import mean_of_weights, share_by_entropy


def net(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    made = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    made(torch.randn(4, 1, 5, 5))
    return made


def test_weights_and_statistics_lie_on_the_line() -> None:
    before, after = net(0), net(1)
    after(torch.randn(4, 1, 5, 5))
    mean = mean_of_weights(before, after, 0.25)
    old, new = before.state_dict(), after.state_dict()
    for name, tensor in mean.state_dict().items():
        wanted = 0.75 * old[name] + 0.25 * new[name] if tensor.is_floating_point() else new[name]
        torch.testing.assert_close(tensor, wanted)
    assert int(mean[1].num_batches_tracked) == 2  # type: ignore[index, arg-type]
    assert not mean.training
    assert all(torch.equal(new[name], value) for name, value in after.state_dict().items())


def test_the_surer_network_has_the_larger_share() -> None:
    generator = np.random.default_rng(0)
    before, after = (generator.normal(size=(5, 4)).astype(np.float32) for _ in range(2))
    wanted = []
    for one, other in zip(before, after, strict=True):
        entropies = []
        for logits in (one, other):
            odds = [math.exp(value) for value in logits.astype(np.float64)]
            entropies.append(-sum(odd / sum(odds) * math.log(odd / sum(odds)) for odd in odds))
        wanted.append(entropies[0] / sum(entropies))
    assert share_by_entropy(before, after) == pytest.approx(sum(wanted) / 5, rel=1e-12)
    assert share_by_entropy(before, 10 * after) > share_by_entropy(before, after)


def test_one_output_is_as_sure_as_that_of_the_second_of_two_classes() -> None:
    before, after = np.array([[0.2], [-1.0]], np.float32), np.array([[3.0], [-0.5]], np.float32)
    both = [np.concatenate([np.zeros_like(one), one], 1) for one in (before, after)]
    assert share_by_entropy(before, after) == pytest.approx(share_by_entropy(*both)) != 0
