"""Channels in the order of their weights: the whole computes the same, narrower networks keep the best."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas.from_network.ordering import by_importance, in_order
from runners.adopting.experiment import Experiment
from runners.adopting.flows import Traced
from runners.adopting.groups import find_groups, layout, movable
from runners.adopting.proposal import propose
from runners.adopting.taken_up import taken_up
from tests.runners.adopting.networks import NETWORKS, ViT, logits, made


@pytest.mark.parametrize("name", NETWORKS)
def test_any_order_of_units_computes_the_same(name: str) -> None:
    network, example = made(name)
    network, example = taken_up(network.double(), example.double()), example.double()
    experiment = Experiment(Traced(network, example))
    groups, _ = find_groups(experiment)
    places = layout(groups)
    assert sorted(movable(experiment, groups)) == sorted(one.name for one in groups)
    expected = logits(network, example)
    random = torch.Generator().manual_seed(1)
    orders = {one.name: torch.randperm(one.units, generator=random) for one in groups}
    moved = in_order(network, places, orders)
    assert not all(map(torch.equal, moved.parameters(), network.parameters()))
    torch.testing.assert_close(logits(moved, example), expected, rtol=1e-12, atol=1e-12)
    by_weights = in_order(network, places, by_importance(network, places, [one.name for one in groups]))
    again = by_importance(by_weights, places, [one.name for one in groups])
    assert {len(order) for order in again.values()} == {one.units for one in groups}
    for order in again.values():  # they are in order now
        assert torch.equal(order, torch.arange(len(order)))


def planted(channels: list[int]) -> tuple[nn.Module, Tensor]:
    """A network whose hidden channels but these are hardly read, and an image."""
    network, example = made("concatenation")
    with torch.no_grad():
        rest = [channel for channel in range(8) if channel not in channels]
        network.get_submodule("head").weight[:, rest] *= 1e-3
    return network, example


def test_a_slice_keeps_the_channels_with_the_largest_weights() -> None:
    important = [1, 4, 6, 7]
    network, example = planted(important)
    expected = logits(network, example)
    errors = {}
    for by_weights in (True, False):
        space = propose(network, example, by_weights=by_weights).space({"c.width": (4, 8)})
        small = space.build({"c.width": 4}).eval()
        errors[by_weights] = float((logits(small, example) - expected).abs().max())
        if by_weights:
            assert sorted(small.c.bias.tolist()) == sorted(network.c.bias[important].tolist())
    assert errors[True] < 1e-2 * errors[False]


def test_heads_go_as_they_are_with_all_their_parts() -> None:
    network, example = made("ViT, heads free")
    assert isinstance(network, ViT)
    with torch.no_grad():  # the last head of the first block says most
        network.blocks[0].attn.proj.weight[:, :16] *= 0.1
    space = propose(network, example).space({"blocks.0.attn.qkv.heads": (2, 3)})
    attention = space.build({"blocks.0.attn.qkv.heads": 2}).get_submodule("blocks.0.attn")
    old = network.blocks[0].attn
    head = np.arange(16, 24)
    for part in range(3):
        assert torch.equal(attention.qkv.bias[part * 16 : part * 16 + 8], old.qkv.bias[part * 24 + head])


class Numbered(nn.Module):
    """Adds to each channel a number of its own that no layer holds."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        x = x + torch.arange(x.shape[1], dtype=x.dtype)[:, None, None]
        return self.head(torch.relu(self.b(torch.relu(x))).mean((2, 3)))


def test_channels_that_a_forward_numbers_stay_where_they_are() -> None:
    network, example = Numbered(), torch.randn(2, 3, 8, 8)
    proposal = propose(network, example)
    assert {one.name for one in proposal.findings} == {"a.width", "b.width"}
    assert torch.equal(proposal.network.a.weight, network.a.weight)
    assert not torch.equal(proposal.network.b.bias, network.b.bias)
    torch.testing.assert_close(logits(proposal.network, example), logits(network, example))
