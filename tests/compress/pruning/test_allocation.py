# ruff: noqa: ARG002 - a fake target takes what a real one takes
"""How much each group loses: every allocation keeps the budget, and each does what its paper says."""

from __future__ import annotations

import itertools
import threading

import pytest
import torch
from torch import Tensor, nn

from compress.pruning.allocation import ALLOCATIONS
from compress.pruning.allocation.equal_slope import at_equal_slope
from compress.pruning.allocation.layers import LayerTimes
from compress.pruning.allocation.precrop import equal_costs
from compress.pruning.allocation.zeroth_order import shared_out
from compress.pruning.groups import channel_groups
from compress.pruning.prune import Prepared, prepare, prune
from compress.pruning.reach import cuts_for_speedup
from compress.target import Facts
from results.timing import Timing
from tests.compress.targets import FACTS, around

EXAMPLE = torch.rand(1, 2, 8, 8, generator=torch.Generator().manual_seed(1))
IMAGES = torch.rand(6, 2, 8, 8, generator=torch.Generator().manual_seed(2))


def _network() -> nn.Module:
    """Early layers on large maps, late ones on small maps: as many channels cost more early."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(
            nn.Conv2d(2, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.ReLU(),
            nn.AvgPool2d(4),
            nn.Conv2d(32, 64, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(256, 5),
        ).eval()


def _loss(network: nn.Module) -> Tensor:
    return nn.functional.cross_entropy(network(IMAGES), torch.tensor([0, 1, 2, 3, 4, 0]))


class _Stairs:
    """A target on which a layer takes as long as its output channels, rounded up to 12, times its inputs."""

    facts: Facts = FACTS

    def __init__(self) -> None:
        self.layers: list[nn.Module] = []

    def export(self, network: nn.Module, input_shape: tuple[int, ...], path: object) -> None:
        self.layers.append(network)

    def measure(self, files: list[object], *, budget_s: float, half_width: float = 0.01) -> list[Timing]:
        taken, self.layers = self.layers, []
        return [around(_ms(layer)) for layer in taken]


def _ms(layer: nn.Module) -> float:
    outputs, inputs = layer.weight.shape[:2]
    return (-(-outputs // 12) * 12) * inputs / 1000


def _prepared(name: object, **changes: object) -> Prepared:
    asked: dict[str, object] = {
        "counts": 4,
        "allocation": name,
        "loss": _loss,
        "images": IMAGES,
        "times": LayerTimes(_Stairs()),  # type: ignore[arg-type]
    }
    return prepare(_network(), EXAMPLE, **(asked | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def evenly() -> Prepared:
    return _prepared("uniform")


@pytest.mark.parametrize("name", ALLOCATIONS)
def test_every_allocation_costs_no_more_than_an_even_cut_and_its_network_runs(name, evenly):
    prepared = _prepared(name)
    cuts = prepared.cuts(0.5)
    assert cuts
    kept = {cut.root: len(cut.kept) for cut in cuts}
    assert all(count % 4 == 0 and count > 0 for count in kept.values())
    whole = {group.root: group.channels for group in prepared.sharing.groups}
    counts = [kept.get(root, channels) for root, channels in whole.items()]
    even = prepared.sharing.evenly(0.5)
    if name in ("measured", "equal_slope"):
        assert prepared.sharing.cost(counts) <= prepared.sharing.cost(even)
    elif name == "precrop":
        assert prepared.sharing.layers.macs(counts) <= prepared.sharing.layers.macs(even)
    else:
        assert sum(counts) == pytest.approx(sum(even), abs=6)
    pruned = prepared.pruned(cuts)
    assert pruned.cuts == cuts
    assert pruned.network(IMAGES).shape == (6, 5)
    assert cuts == _prepared(name).cuts(0.5), "the same again"


def test_layers_count_what_the_cut_network_has(evenly):
    cuts = evenly.cuts(0.5)
    network = evenly.pruned(cuts).network
    macs = 0
    with torch.no_grad():
        x = IMAGES[:1]
        for layer in network:
            x = layer(x)
            if isinstance(layer, nn.Conv2d):
                macs += layer.in_channels * layer.weight[0, 0].numel() * x.numel()
            elif isinstance(layer, nn.Linear):
                macs += layer.in_features * layer.out_features
    assert evenly.sharing.layers.macs(evenly.sharing.evenly(0.5)) == macs


def test_precrop_gives_every_layer_that_is_not_whole_the_same_cost():
    costs = torch.tensor([100.0, 10.0, 400.0, 50.0], dtype=torch.float64)
    densities = equal_costs(costs, 0.5)
    left = (densities * costs).tolist()
    assert sum(left) == pytest.approx(280)
    assert left[1] == pytest.approx(10)  # whole
    assert left[3] == pytest.approx(50)
    assert left[0] == pytest.approx(100)
    assert left[2] == pytest.approx(120)
    best, bound = 1.0, float(densities.prod())  # no other densities of a grid waste less
    for grid in itertools.product([0.1, 0.2, 0.3, 0.5, 0.7, 1.0], repeat=4):
        density = torch.tensor(grid, dtype=torch.float64)
        if float((density * costs).sum()) <= 280:
            best = min(best, bound - float(density.prod()))
    assert best >= -1e-9


def test_what_is_left_is_shared_out_by_score_and_none_has_more_than_it_is():
    shares = shared_out([1.0, 3.0, 0.0], [10.0, 10.0, 20.0], keep=0.5, least=0.2)
    # 20 channels in all, 8 of them given to begin with; 12 by 1:3, and of the 9 for the second only 8 fit
    assert shares == pytest.approx([0.2 + 0.4, 1.0, 0.2])
    assert shared_out([0.0, 0.0], [4.0, 4.0], keep=0.5, least=0.25) == pytest.approx([0.5, 0.5])


def test_equal_slopes_are_the_best_there_is_on_convex_curves():
    amounts = [[4, 3, 2, 1]] * 2
    curves, costs = [[0.0, 1.0, 3.0, 6.0], [0.0, 0.4, 1.5, 4.0]], [[4.0, 3.0, 2.0, 1.0]] * 2
    for budget in (7, 6, 5, 4, 3, 2):
        found = at_equal_slope(amounts, curves, costs, lambda kept, most=budget: sum(kept) <= most)
        lost = curves[0][4 - found[0]] + curves[1][4 - found[1]]
        best = min(
            curves[0][4 - a] + curves[1][4 - b]
            for a, b in itertools.product(range(1, 5), repeat=2)
            if a + b <= sum(found)
        )
        assert sum(found) <= budget
        assert lost == pytest.approx(best)
        for size in (1e-18, 1e18):  # outputs of another size, and milliseconds or multiply-accumulates
            scaled = [[size * one for one in curve] for curve in curves]
            assert found == at_equal_slope(
                amounts, scaled, costs, lambda kept, most=budget: sum(kept) <= most
            )


def test_zeroth_order_keeps_more_where_the_loss_listens():
    """A last layer that hears the third convolution alone: the loss does not answer to the others."""
    network = _network()
    with torch.no_grad():
        network[0].weight *= 1e-3
        network[2].weight *= 1e-3
        network[5].weight *= 10
    prepared = prepare(network, EXAMPLE, counts=1, allocation="zeroth_order", loss=_loss)
    kept = {cut.root: len(cut.kept) / cut.channels for cut in prepared.cuts(0.4)}
    assert kept["0"] != kept.get("5", 1.0)


def test_measured_takes_what_the_device_gives_back_for_least_loss():
    """Of two equal layers one does nothing: its channels go first, down to the ends of stairs."""
    network = _network()
    with torch.no_grad():
        network[5].weight[8:] = 0
        network[5].bias[8:] = 0
    times = LayerTimes(_Stairs())  # type: ignore[arg-type]
    prepared = prepare(network, EXAMPLE, counts=4, allocation="measured", loss=_loss, times=times)
    kept = {cut.root: len(cut.kept) for cut in prepared.cuts(0.9)}
    assert kept["5"] <= 48
    with pytest.raises(ValueError, match="allocation 'measured' needs target, of which there is none"):
        prune(network, EXAMPLE, keep=0.5, allocation="measured", loss=_loss)


def test_stairs_of_the_device_are_the_widths_that_are_chosen():
    prepared = _prepared("uniform", counts="stairs")
    allowed = dict(zip((g.root for g in prepared.sharing.groups), prepared.sharing.allowed, strict=True))
    assert allowed["0"] == (12, 24, 32)
    assert allowed["5"] == (12, 24, 36, 48, 60, 64)
    assert {len(cut.kept) % 12 for cut in prepared.cuts(0.5)} == {0}
    with pytest.raises(ValueError, match="counts 'stairs' are measured on a target, and there is none"):
        prune(_network(), EXAMPLE, keep=0.5, counts="stairs")


def test_a_speedup_is_reached_with_as_little_cut_as_possible(evenly):
    def speedup(cuts):
        return 1 + sum(len(cut.dropped) for cut in cuts) / 64  # 128 channels in all

    cuts = cuts_for_speedup(evenly, 1.5, speedup)
    assert 1.5 <= speedup(cuts) < 1.75
    with pytest.raises(ValueError, match=r"does not make it 4 times as fast: .* 2\.8"):
        cuts_for_speedup(evenly, 4.0, speedup)


def test_networks_are_followed_in_several_threads_at_once():
    found: list[int] = []

    def group() -> None:
        found.append(len(channel_groups(_network(), EXAMPLE)[0]))

    threads = [threading.Thread(target=group) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [3, 3, 3]


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("even", "unknown allocation 'even'"),
        ({"kind": "measured", "step": 2}, "less than 1"),
        ({"step": 2}, "an allocation is its name"),
    ],
)
def test_an_unknown_allocation_is_named(spec, problem):
    with pytest.raises(ValueError, match=problem):
        prune(_network(), EXAMPLE, keep=0.5, allocation=spec)
