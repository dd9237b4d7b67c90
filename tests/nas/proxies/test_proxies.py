"""Every proxy equals its formula, written again in NumPy; none touches what it scores."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.proxies import PROXIES, grad_norm, jacob_cov, macs, naswot, params, snip, synflow, zen
from nas.supernet.supernet import Supernet
from tests.spaces import digits_space, resnet_space, vit_space


def squares(outputs: Tensor, labels: Tensor) -> Tensor:
    """Half the mean over images of the squared distance."""
    return ((outputs - labels) ** 2).sum(dim=1).mean() / 2


class Perceptron(nn.Module):
    """Two matrices with a ReLU between, a function and no module."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(12, 7, bias=False)
        self.second = nn.Linear(7, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x.flatten(1))))


@pytest.fixture
def small() -> tuple[nn.Module, Tensor, Tensor]:
    network = Perceptron().double()
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(5, 3, 2, 2, dtype=torch.float64, generator=generator)
    return network, images, torch.randn(5, 4, dtype=torch.float64, generator=generator)


def by_hand(network: nn.Module, images: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Matrices, flat images and what stands before the ReLU."""
    first, second = (one.detach().numpy() for one in network.parameters())
    flat = images.flatten(1).numpy()
    return first, second, flat, flat @ first.T


def gradients_by_hand(network: nn.Module, images: Tensor, labels: Tensor) -> tuple[np.ndarray, np.ndarray]:
    _, second, flat, before = by_hand(network, images)
    hidden = np.maximum(before, 0)
    error = (hidden @ second.T - labels.numpy()) / len(flat)
    back = (error @ second) * (before > 0)
    return back.T @ flat, error.T @ hidden


def test_sizes(small: tuple[nn.Module, Tensor, Tensor]) -> None:
    network, images, labels = small
    assert params(network, images, labels, squares, 0) == 12 * 7 + 7 * 4
    assert macs(network, images, labels, squares, 0) == 12 * 7 + 7 * 4


def test_snip_is_the_sum_of_weight_times_gradient(small: tuple[nn.Module, Tensor, Tensor]) -> None:
    network, images, labels = small
    first, second, _, _ = by_hand(network, images)
    found = gradients_by_hand(network, images, labels)
    expected = np.abs(first * found[0]).sum() + np.abs(second * found[1]).sum()
    assert snip(network, images, labels, squares, 0) == pytest.approx(expected, rel=1e-12)


def test_grad_norm_sums_the_norms_of_layers(small: tuple[nn.Module, Tensor, Tensor]) -> None:
    network, images, labels = small
    expected = sum(math.sqrt((one**2).sum()) for one in gradients_by_hand(network, images, labels))
    assert grad_norm(network, images, labels, squares, 0) == pytest.approx(expected, rel=1e-12)


def test_naswot_counts_the_units_in_which_images_are_alike(small: tuple[nn.Module, Tensor, Tensor]) -> None:
    network, images, labels = small
    on = by_hand(network, images)[3] > 0
    kernel = [[sum(a == b for a, b in zip(one, other, strict=True)) for other in on] for one in on]
    expected = np.log(abs(np.linalg.det(np.array(kernel, dtype=float))))
    assert naswot(network, images, labels, squares, 0) == pytest.approx(expected, rel=1e-9)


def test_naswot_sees_activations_in_place_and_says_where_there_are_none() -> None:
    images, labels = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.zeros(4, 2)
    torch.manual_seed(0)
    layers = [nn.Linear(3, 9), nn.Linear(9, 2)]
    scores = {
        naswot(nn.Sequential(layers[0], act, layers[1]), images, labels, squares, 0)
        for act in (nn.ReLU(), nn.ReLU(inplace=True), nn.GELU(), nn.SiLU(inplace=True), nn.Hardswish())
    }
    assert len(scores) == 1
    with pytest.raises(ValueError, match="looks at activations, and Sequential has none that it knows"):
        naswot(nn.Sequential(*layers), images, labels, squares, 0)


def test_jacob_cov_is_of_the_eigenvalues_of_correlations(small: tuple[nn.Module, Tensor, Tensor]) -> None:
    network, images, labels = small
    first, second, _, before = by_hand(network, images)
    jacobian = ((before > 0) * second.sum(axis=0)) @ first
    centred = jacobian - jacobian.mean(axis=1, keepdims=True)
    unit = centred / np.sqrt((centred**2).sum(axis=1, keepdims=True))
    values = np.linalg.svd(unit, compute_uv=False) ** 2 + 1e-5
    expected = -(np.log(values) + 1 / values).sum()
    assert jacob_cov(network, images, labels, squares, 0) == pytest.approx(expected, rel=1e-9)


def test_jacob_cov_of_a_gradient_without_spread_is_no_number() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False))
    nn.init.ones_(flat[1].weight)
    assert math.isnan(jacob_cov(flat, torch.randn(3, 1, 2, 2), torch.zeros(3, 1), squares, 0))


class Pointwise(nn.Sequential):
    """1x1 convolutions with BatchNorm, pooled, so that all of it is a few products of matrices."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.conv1 = nn.Conv2d(3, 6, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(6)
        self.act = nn.ReLU()
        self.conv2 = nn.Conv2d(6, 5, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(5)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(5, 4, bias=False)


def test_synflow_is_what_flows_times_the_number_of_matrices() -> None:
    """R is linear in each matrix, so that the sum over one of weight x gradient is R itself (Euler)."""
    network, images = Pointwise(), torch.randn(2, 3, 4, 4)
    flow = np.ones(3)
    for weight in (network.conv1.weight, network.conv2.weight, network.head.weight):
        flow = np.abs(weight.detach().double().numpy().reshape(len(weight), -1)) @ flow
    found = synflow(network, images, torch.zeros(2, 4), squares, 0)
    assert found == pytest.approx(math.log(3 * flow.sum()), rel=1e-12)


def test_zen_is_the_distance_of_maps_and_the_scales_of_the_norms() -> None:
    """The same draws in the same order, then algorithm 1 of the paper in NumPy."""
    network, images = Pointwise(), torch.zeros(8, 3, 4, 4)
    found = zen(network, images, torch.zeros(8), squares, 5, change=0.1, repeats=2)
    expected = []
    torch.manual_seed(5)
    draw = lambda *shape: torch.empty(shape, dtype=torch.float64).normal_().numpy()  # noqa: E731
    for _ in range(2):
        first, second, _ = draw(6, 3), draw(5, 6), draw(4, 5)
        x, scales = torch.randn(8, 3, 4, 4, dtype=torch.float64).numpy(), []
        change = 0.1 * torch.randn(8, 3, 4, 4, dtype=torch.float64).numpy()
        maps = []
        for given in (x, x + change):
            before = np.einsum("oc,nchw->nohw", first, given)
            spread1 = before.var(axis=(0, 2, 3))
            normed = (before - before.mean(axis=(0, 2, 3))[:, None, None]) / np.sqrt(spread1 + 1e-5)[
                :, None, None
            ]
            after = np.einsum("oc,nchw->nohw", second, np.maximum(normed, 0))
            spread2 = after.var(axis=(0, 2, 3))
            maps.append(
                (after - after.mean(axis=(0, 2, 3))[:, None, None]) / np.sqrt(spread2 + 1e-5)[:, None, None]
            )
            scales.append(0.5 * np.log(spread1.mean()) + 0.5 * np.log(spread2.mean()))
        expected.append(np.log(np.abs(maps[0] - maps[1]).sum(axis=(1, 2, 3)).mean()) + scales[0])
    assert found == pytest.approx(np.mean(expected), rel=1e-9)


def networks() -> dict[str, tuple[nn.Module, Tensor]]:
    """Networks of built-in and users' spaces, alone and with a supernet's weights."""
    found = {}
    for space in (digits_space(), resnet_space(), vit_space()):
        torch.manual_seed(0)
        arch = space.to_arch(space.sample(1, np.random.default_rng(3))[0])
        images = torch.randn(6, *space.input_shape(arch), generator=torch.Generator().manual_seed(0))
        found[space.name] = (space.build(arch), images)
        found[f"{space.name}, shared"] = (Supernet(space, seed=0).subnet(arch), images)
    return found


@pytest.mark.parametrize("name", PROXIES)
def test_what_is_scored_stays_as_it_is_and_the_score_follows_from_the_seed(name: str) -> None:
    proxy = PROXIES[name].part
    labels = torch.arange(6) % 10
    for called, (network, images) in networks().items():
        network.eval()
        before = copy.deepcopy(network.state_dict())
        given = [None if one.grad is None else one.grad.clone() for one in network.parameters()]
        random = torch.get_rng_state()
        first = proxy(network, images, labels, F.cross_entropy, 7)
        assert torch.equal(random, torch.get_rng_state())
        torch.randn(3)
        assert proxy(network, images, labels, F.cross_entropy, 7) == first, called
        assert math.isfinite(first), called
        assert isinstance(first, float)
        assert not any(module.training for module in network.modules())
        for one, gradient in zip(network.parameters(), given, strict=True):
            assert one.grad is gradient or torch.equal(one.grad, gradient)  # a subnet has the supernet's
        after = network.state_dict()
        assert all(torch.equal(after[key], value) for key, value in before.items()), called


@pytest.mark.parametrize("name", ["snip", "grad_norm", "synflow"])
def test_frozen_weights_count(name: str) -> None:
    network = Pointwise()
    images, labels = torch.randn(4, 3, 4, 4), torch.zeros(4, dtype=torch.int64)
    before = PROXIES[name].part(network, images, labels, F.cross_entropy, 0)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    with torch.no_grad():
        assert PROXIES[name].part(network, images, labels, F.cross_entropy, 0) == before
    assert not any(parameter.requires_grad for parameter in network.parameters())
