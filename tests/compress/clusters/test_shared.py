"""Weights from tables: what they compute, how tables learn, and what is left alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from compress.clusters.shared import Palette, cluster, palette_of, settle


def test_a_weight_is_made_number_by_number():
    draws = np.random.default_rng(0)
    palette = Palette(
        table=draws.normal(size=(2 * 3, 2)).astype(np.float32),
        indices=draws.integers(0, 3, (4, 5)).astype(np.uint8),
        factors=draws.normal(size=4).astype(np.float32),
        groups=2,
    )
    weight = palette.weight()
    assert weight.shape == (4, 10)
    for o in range(4):
        for i in range(10):
            row = 3 * (o // 2) + int(palette.indices[o, i // 2])
            assert weight[o, i] == pytest.approx(palette.factors[o] * palette.table[row, i % 2], rel=1e-6)


def test_each_channel_is_as_near_whatever_its_size():
    weight = np.random.default_rng(0).normal(size=(8, 200)).astype(np.float32)
    sizes = np.array([1e-3, 1, 5, 100, 1, 1, 1, 0], np.float32)
    ones = np.array([1, 1, 1, 1, 1, 1, 1, 0], np.float32)
    alike, unlike = (
        np.abs(palette_of(scaled, 16, length=1, group=None, seed=0).weight() - scaled)
        for scaled in (ones[:, None] * weight, sizes[:, None] * weight)
    )
    assert np.sqrt((alike**2).mean()) < 0.15
    np.testing.assert_allclose(unlike.max(axis=1), alike.max(axis=1) * sizes, rtol=1e-3)


def test_more_entries_groups_and_shorter_vectors_are_nearer():
    weight = np.random.default_rng(0).normal(size=(8, 96)).astype(np.float32)

    def error(entries: int, length: int = 1, group: int | None = None) -> float:
        made = palette_of(weight, entries, length=length, group=group, seed=0)
        return float(((made.weight() - weight) ** 2).sum())

    assert error(256) < error(16, group=2) < error(16) < error(16, length=2) < error(16, length=4)
    assert error(16, length=7) == error(16)  # 96 is no multiple of 7
    assert error(16, group=3) == error(16)  # nor 8 of 3


def test_a_step_is_that_of_the_weights_as_near_as_they_can_follow_together():
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Linear(6, 4, dtype=torch.float64))
    begun = cluster(layer, 2)["0"]
    table = layer[0].parametrizations["weight"].original
    x, wanted = torch.randn(5, 6, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    ((layer(x) - wanted) ** 2).sum().backward()
    weight = torch.from_numpy(begun.weight()).double().requires_grad_()
    ((x @ weight.T + layer[0].bias.detach() - wanted) ** 2).sum().backward()
    assert weight.grad is not None
    for entry in range(2):
        above = below = 0.0
        for o in range(4):
            for i in range(6):
                if begun.indices[o, i] == entry:
                    above += float(begun.factors[o]) * float(weight.grad[o, i])
                    below += float(begun.factors[o]) ** 2
        assert float(table.grad[entry, 0]) == pytest.approx(above / below, rel=1e-5)


def test_only_tables_are_trained_and_layers_are_plain_again():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(32, 5))
    network[0].weight.requires_grad_(False)
    begun = cluster(network, 4, ignore=("3",))
    assert set(begun) == {"0", "4"}
    assert not network[0].parametrizations["weight"].original.requires_grad
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], 0.1)
    network(torch.randn(4, 3, 4, 4)).square().sum().backward()
    optimizer.step()
    found = settle(network, begun)
    assert type(network[4]) is nn.Linear
    assert isinstance(network[4].weight, nn.Parameter)
    assert not network[0].weight.requires_grad
    for name, moved in (("0", False), ("4", True)):
        layer = network.get_submodule(name)
        np.testing.assert_allclose(layer.weight.detach().flatten(1).numpy(), found[name].weight(), rtol=1e-6)
        assert np.array_equal(found[name].indices, begun[name].indices)
        assert np.array_equal(found[name].table, begun[name].table) is not moved
        ratios = layer.weight.detach().flatten(1) / torch.from_numpy(begun[name].factors)[:, None]
        assert len(np.unique(ratios.numpy().round(4))) <= 4


def test_tied_tiny_and_ignored_weights_stay_and_nan_is_named():
    network = nn.Sequential(
        nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(2, 2), nn.Linear(8, 8), nn.Linear(8, 9)
    )
    network[1].weight = network[0].weight
    assert set(cluster(network, 16, ignore=("3",))) == {"4"}
    broken = nn.Sequential(nn.Linear(8, 8))
    broken[0].weight.data[0, 0] = float("nan")
    with pytest.raises(ValueError, match="the weight of 0 is not finite"):
        cluster(broken, 16)
