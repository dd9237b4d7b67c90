# ruff: noqa: ARG002 - a fake target takes what a real one takes
"""Layers that become two: the nearest product, the ranks that the target runs faster, and trained ranks."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from compress.candidate import Candidate
from compress.saved import restore, save
from compress.steps import LowRank
from compress.steps.low_rank import fastest_largest
from compress.swaps import Swap
from compress.swaps.factors import factored, singular_values
from compress.swaps.ranks import Ordered, OrderedRank, lasso_gradient, with_ordered_ranks
from tests.compress.targets import FakeTarget, around, context

EXAMPLE = torch.rand(2, 8, 9, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def _layers() -> list[tuple[nn.Module, Tensor]]:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return [
            (nn.Conv2d(8, 12, 3, stride=2, padding=1).double(), EXAMPLE),
            (nn.Conv2d(8, 6, 1, bias=False).double(), EXAMPLE),
            (nn.Linear(7, 10).double(), EXAMPLE),
        ]


@pytest.mark.parametrize("index", range(3))
def test_at_full_rank_two_layers_are_the_one_and_below_the_nearest(index):
    layer, x = _layers()[index]
    matrix = layer.weight.detach().flatten(1)
    full = min(matrix.shape)
    with torch.no_grad():
        assert torch.allclose(factored(layer, full)(x), layer(x), atol=1e-10)
    both = factored(layer, 3)
    near = both[1].weight.detach().flatten(1) @ both[0].weight.detach().flatten(1)
    eigenvalues = torch.linalg.eigvalsh(matrix @ matrix.T).flip(0)[:full]  # squares of the singular values
    assert float((near - matrix).square().sum()) == pytest.approx(float(eigenvalues[3:].sum()))
    assert torch.allclose(singular_values(layer).square(), eigenvalues)
    with pytest.raises(ValueError, match=f"has ranks 1 to {full}, not {full + 1}"):
        factored(layer, full + 1)


def test_grouped_layers_stay_whole():
    with pytest.raises(ValueError, match="a Conv2d cannot be written as two layers"):
        factored(nn.Conv2d(4, 4, 3, groups=4), 1)


def test_the_largest_rank_that_is_as_fast_is_taken_and_none_that_is_slower():
    assert fastest_largest([8, 16, 24], 1.0, [0.5, 0.505, 0.7]) == 16
    assert fastest_largest([8, 16], 1.0, [0.99, 0.4]) is None


def test_the_gradient_of_the_lasso_is_that_of_the_sum_of_tail_norms():
    columns = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    columns.requires_grad_()
    total = sum(columns[:, first:].square().sum().sqrt() for first in range(4))
    (expected,) = torch.autograd.grad(total, columns)
    assert torch.allclose(lasso_gradient(columns.detach(), 1), expected)
    assert torch.allclose(lasso_gradient(columns.detach().T, 0), expected.T)


def test_trained_ranks_come_in_the_order_of_what_they_are_worth():
    """A linear layer that learns another of decaying singular values: in the linear case that is the SVD."""
    generator = torch.Generator().manual_seed(4)
    left, _ = torch.linalg.qr(torch.randn(6, 6, generator=generator))
    right, _ = torch.linalg.qr(torch.randn(6, 6, generator=generator))
    goal = left @ torch.diag(torch.tensor([4.0, 2.0, 1.0, 0.3, 0.05, 0.01])) @ right
    network = nn.Sequential(nn.Linear(6, 6, bias=False))
    with torch.no_grad():
        network[0].weight.copy_(torch.randn(6, 6, generator=generator) / 4)
    ordered = with_ordered_ranks(network, ["0"], lasso=1e-3)
    optimizer = torch.optim.Adam(ordered.network.parameters(), 0.03)
    ordered.network.train()
    torch.manual_seed(0)
    for _ in range(400):
        x = torch.randn(32, 6, generator=generator)
        loss = (ordered.network(x) - x @ goal.T).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    first = ordered.layers["0"].cut(2)
    best = left[:, :2] @ torch.diag(torch.tensor([4.0, 2.0])) @ right[:2]
    found = first[1].weight.detach() @ first[0].weight.detach()
    assert float((found - best).norm() / best.norm()) < 0.25
    assert all(parameter.requires_grad for parameter in first.parameters()), "they are trained on"
    x = torch.randn(3, 6, generator=generator)
    torch.testing.assert_close(ordered.plain().eval()(x), ordered.network.eval()(x))
    energies = ordered.layers["0"].energies().sqrt()
    assert energies[0] > energies[2] > energies[4]
    assert isinstance(ordered.network[0], OrderedRank)
    assert isinstance(network[0], nn.Linear), "the network itself is left alone"


class _ByOutputs(FakeTarget):
    """A file takes as long as it has bytes."""

    def measure(self, files, *, budget_s: float, half_width: float = 0.01):  # type: ignore[override,no-untyped-def]
        return [around(file.stat().st_size / 1e4, width_ms=0.001) for file in files]


@pytest.mark.parametrize("trained", [False, True])
def test_the_step_writes_as_two_what_is_faster_so_and_comes_back_from_the_disk(tmp_path, trained):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = nn.Sequential(
            nn.Conv2d(4, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 1), nn.Flatten(), nn.Linear(1024, 3)
        ).eval()
    with torch.no_grad():  # of rank 8 but for a little
        small = torch.randn(64, 8) @ torch.randn(8, 64) + 0.01 * torch.randn(64, 64)
        network[2].weight.copy_(small.reshape(64, 64, 1, 1))
    example = torch.rand(1, 4, 6, 6)
    asked = context(target=_ByOutputs(), example=example)
    start = Candidate(network=network, file=tmp_path / "start.onnx", precision="int8")
    (candidate,) = LowRank(energy=0.99, trained=trained).propose(start, asked, tmp_path)
    assert candidate.swaps == (Swap(module="2", kind="two_layers", settings={"rank": 8}),)
    with torch.no_grad():
        assert torch.allclose(candidate.network(example), network(example), atol=0.05)
    assert candidate.precision == "fp32", "the file is a float one, whatever was there"
    assert candidate.label == "1 of 3 layers as two, 99% of their energy"
    save(candidate, tmp_path / "saved")
    again = restore(network, example, tmp_path / "saved")
    assert torch.equal(again.network(example), candidate.network(example))
    with pytest.raises(ValueError, match="none of 2 layers is faster as two"):
        LowRank(energy=0.99, ignore=("2",)).propose(start, asked, tmp_path)


def test_what_is_trained_beside_the_ranks_is_kept(tmp_path):
    """The biases and the layers that stay whole are those of the training, which the ranks belong to."""

    def finetune(network: nn.Module, *, seed: int, epochs: int | None = None) -> nn.Module:
        with torch.no_grad():
            for parameter in network.parameters():
                if parameter.requires_grad:
                    parameter.mul_(2)
        return network

    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 4)).eval()
        with torch.no_grad():
            network[0].weight.copy_(torch.randn(64, 8) @ torch.randn(8, 64))
    x = torch.randn(3, 64)
    asked = context(target=_ByOutputs(), example=x, finetune=finetune)
    start = Candidate(network=network, file=tmp_path / "start.onnx")
    (candidate,) = LowRank(energy=0.99, trained=True, ignore=("1",)).propose(start, asked, tmp_path)
    first, last = candidate.network[0], candidate.network[1]
    # Twice by the training of the ranks and twice by the one after it; a product doubles in both factors.
    torch.testing.assert_close(last.weight, 4 * network[1].weight)
    torch.testing.assert_close(first[1].bias, 4 * network[0].bias)
    torch.testing.assert_close(
        first[1].weight @ first[0].weight, 16 * network[0].weight, rtol=1e-3, atol=1e-2
    )
    copying = replace(asked, finetune=lambda module, **_: copy.deepcopy(module))
    with pytest.raises(ValueError, match="ranks are trained in order in the network that is given to the tr"):
        LowRank(trained=True).propose(start, copying, tmp_path)


def test_ranks_are_drawn_by_the_generator_that_a_training_seeds():
    network = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6))
    ordered, other = (with_ordered_ranks(network, ["0", "1", "2"], lasso=0.0) for _ in range(2))

    def drawn(one: Ordered, seed: int) -> list[int | None]:
        torch.manual_seed(seed)
        one.network.train()(torch.ones(1, 6))
        return [layer.active for layer in one.layers.values()]

    with torch.random.fork_rng():
        first = [drawn(ordered, seed) for seed in range(12)]
        assert [drawn(other, seed) for seed in range(6, 12)] == first[6:], "after a kill as without one"
    assert all(sum(active is not None for active in each) == 1 for each in first)
    assert len({each.index(next(filter(None, each))) for each in first}) == 3
    ordered.network.eval()(torch.ones(1, 6))
    assert all(layer.active is None for layer in ordered.layers.values())
