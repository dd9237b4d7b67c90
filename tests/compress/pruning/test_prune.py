"""What is pruned: the least important, to allowed counts, in whole heads."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from compress.pruning.allocation.allocating import allowed_counts, nearest_count
from compress.pruning.groups import ChannelGroup
from compress.pruning.importance import CRITERIA
from compress.pruning.prune import prune
from tests.compress.networks import EXAMPLE, Concatenated, digits_network


@pytest.mark.parametrize(
    ("channels", "run", "share", "counts", "expected"),
    [
        (64, 1, 0.5, 8, 32),
        (64, 1, 0.6, 8, 40),
        (48, 1, 0.5, 16, 32),  # 24 is as near to 16: the larger
        (64, 16, 0.3, 8, 16),  # whole heads, although 24 is a multiple of 8
        (16, 1, 0.5, 16, 16),  # no smaller count is allowed
        (100, 1, 0.1, (24, 64), 24),
        (100, 1, 0.95, (24, 64), 100),
        (64, 16, 0.5, (24, 40), 64),  # no allowed count holds whole heads
    ],
)
def test_the_nearest_allowed_count(channels, run, share, counts, expected):
    group = ChannelGroup(root="layer", channels=channels, run=run)
    assert nearest_count(allowed_counts(group, counts), share) == expected


@pytest.mark.parametrize("importance", CRITERIA)
def test_every_criterion_prunes_to_a_network_that_trains(importance):
    pruned = prune(
        Concatenated(),
        EXAMPLE,
        keep=0.5,
        counts=4,
        importance=importance,
        loss=lambda net: net(EXAMPLE).square().mean(),
        images=EXAMPLE,
    )
    assert {cut.channels / len(cut.kept) for cut in pruned.cuts} == {2}
    pruned.network.train()(EXAMPLE.expand(4, 1, 8, 8)).square().mean().backward()
    assert all(parameter.grad is not None for parameter in pruned.network.parameters())
    assert {group.reason for group in pruned.refused} == {"they are the network's outputs"}


def test_channels_that_do_nothing_go_first():
    network = Concatenated()
    dead = [1, 4, 5, 10, 12, 13, 15, 20]
    with torch.no_grad():
        network.right.weight[dead] = 0
        network.join[0].weight[:, [16 + index for index in dead]] = 0
    for importance in ("l2", "l1", "lamp", "taylor"):
        pruned = prune(
            network,
            EXAMPLE,
            keep=16 / 24,
            importance=importance,
            loss=lambda net: net(EXAMPLE).square().sum(),
        )
        (cut,) = [cut for cut in pruned.cuts if cut.root == "right"]
        assert cut.dropped == dead


def test_ranking_across_layers_takes_more_where_less_is_lost():
    network = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10)
    )

    def importance(group):  # few channels of the first layer matter, all of the second
        first = group[0].dep.target.module.in_channels == 1
        return torch.arange(32.0) ** 4 if first else torch.ones(32)

    pruned = prune(network, EXAMPLE, keep=0.5, allocation="global", importance=importance)
    kept = {cut.root: len(cut.kept) for cut in pruned.cuts}
    assert kept["0"] < kept.get("2", 32)


def test_a_random_control_repeats_itself_from_its_seed():
    def kept(seed: int) -> list[tuple[int, ...]]:
        pruned = prune(digits_network(), EXAMPLE, keep=0.5, importance="random", seed=seed)
        return [cut.kept for cut in pruned.cuts]

    assert kept(1) == kept(1)
    assert kept(1) != kept(2)


def test_a_criterion_of_ones_own_has_settings_a_seed_and_the_gradients_it_asks_for():
    """As a module outside the project registers it; every name is checked before anything is scored."""
    seen = []

    @CRITERIA.register("toy_gradient", needs={"gradients"})
    def toy_gradient(group, *, power: float = 1.0, seed: int = 0):
        """Gradient of the leading layer's weights."""
        seen.append((power, seed))
        return group[0].dep.target.module.weight.grad.flatten(1).abs().sum(1) ** power

    @CRITERIA.register("toy_flat")
    class ToyFlat:
        """The same score for every channel; gradients are not asked for."""

        def __call__(self, group):
            assert group[0].dep.target.module.weight.grad is None
            return torch.ones(len(group[0].idxs))

    def loss(network: nn.Module) -> torch.Tensor:
        return network(EXAMPLE).square().sum()

    network = digits_network()
    spec = {"kind": "toy_gradient", "power": 2.0}
    assert prune(network, EXAMPLE, keep=0.5, importance=spec, loss=loss, seed=7).cuts
    assert set(seen) == {(2.0, 7)}
    assert prune(network, EXAMPLE, keep=0.5, importance="toy_flat", loss=loss).cuts
    with pytest.raises(ValueError, match="importance 'toy_gradient' reads gradients: pass a loss"):
        prune(network, EXAMPLE, keep=0.5, importance="toy_gradient")
    with pytest.raises(ValueError, match=r"'toy_gradient' has no setting 'pow'\. Did you mean 'power'"):
        prune(network, EXAMPLE, keep=0.5, importance={"kind": "toy_gradient", "pow": 2})


def test_a_function_of_ones_own_finds_gradients_where_a_loss_is_given():
    def importance(group):
        return group[0].dep.target.module.weight.grad.flatten(1).abs().sum(1)

    network = digits_network()
    assert prune(
        network, EXAMPLE, keep=0.5, importance=importance, loss=lambda net: net(EXAMPLE).square().sum()
    ).cuts


def test_pruning_leaves_the_network_and_its_gradients_alone():
    network = digits_network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    prune(network, EXAMPLE, keep=0.5, importance="taylor", loss=lambda net: net(EXAMPLE).sum())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_bad_arguments_are_named():
    network = Concatenated()
    with pytest.raises(ValueError, match=r"between 0 and 1, got 1\.5"):
        prune(network, EXAMPLE, keep=1.5)
    with pytest.raises(ValueError, match="channel counts must be positive, got 0"):
        prune(network, EXAMPLE, keep=0.5, counts=0)
    with pytest.raises(ValueError, match=r"unknown importance 'l3'\. .*Valid: .*magnitude, l2, l1"):
        prune(network, EXAMPLE, keep=0.5, importance="l3")
    with pytest.raises(ValueError, match="importance 'taylor' reads gradients: pass a loss"):
        prune(network, EXAMPLE, keep=0.5, importance="taylor")
