"""Folding changes no output beyond rounding and touches only what can be folded."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from compress.onnx.fuse import fuse, norm_pairs
from tests.compress.networks import EXAMPLE, Concatenated, digits_network, randomise_norms


@pytest.mark.parametrize("make", [digits_network, Concatenated])
def test_fused_equals_the_network_in_float64(make):
    network = randomise_norms(make()).double().eval()
    images = torch.randn(4, 1, 8, 8, dtype=torch.float64)
    fused = fuse(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    assert (fused(images) - network(images)).abs().max() < 1e-5
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_transposed_and_grouped_convolutions_fold():
    network = nn.Sequential(
        nn.ConvTranspose2d(1, 8, 2, stride=2),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 3, groups=4),
        nn.BatchNorm2d(8),
        nn.ConvTranspose2d(8, 8, 2, groups=4),  # stays
        nn.BatchNorm2d(8),
    )
    randomise_norms(network).double().eval()
    images = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    fused = fuse(network)
    assert norm_pairs(network) == [("0", "1"), ("2", "3")]
    assert (fused(images) - network(images)).abs().max() < 1e-9


class _ReadTwice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 1)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x + self.norm(x)


def test_a_norm_stays_where_the_convolution_is_read_elsewhere_too():
    network = randomise_norms(_ReadTwice()).eval()
    fused = fuse(network)
    assert isinstance(fused.norm, nn.BatchNorm2d)
    assert torch.equal(fused(EXAMPLE), network(EXAMPLE))


class _Untraceable(nn.Module):
    """Of whose two calls of its first layer no graph tells."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) if x.sum() > 1e9 else self.body[0](x)


class _Tied(nn.Module):
    """A decoder that reads the encoder's weight."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.norm = nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv_transpose2d(self.norm(self.encode(x)), self.encode.weight, padding=1)


class _ReadsStatistics(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        assert self.norm.running_var is not None
        return self.norm(self.conv(x)) * self.norm.running_var.mean()


def _shared() -> nn.Module:
    network = nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1))
    network[3].weight = network[2].weight
    network.append(nn.BatchNorm2d(4))
    return network


def _hooked() -> nn.Module:
    network = nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4))
    network[0].register_forward_hook(lambda module, given, output: output.relu())
    return network


class _Standardised(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(x, self.weight - self.weight.mean(), self.bias)


@pytest.mark.parametrize(
    ("make", "folded"),
    [
        (_Untraceable, []),
        (_Tied, []),
        (_ReadsStatistics, []),
        (_shared, [("0", "1")]),
        (_hooked, []),
        (lambda: nn.Sequential(_Standardised(1, 4, 1), nn.BatchNorm2d(4)), []),
        (lambda: nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)), []),
    ],
)
def test_only_what_is_proven_is_folded(make, folded):
    """Weights with a second reader, shared, hooked or used otherwise: folding would change more."""
    network = make().eval()
    if not any(
        module.running_mean is None for module in network.modules() if hasattr(module, "running_mean")
    ):
        randomise_norms(network)
    assert norm_pairs(network) == folded
    right = network(EXAMPLE)
    assert (fuse(network)(EXAMPLE) - right).abs().max() < 1e-5 * right.abs().max()


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
@pytest.mark.parametrize(
    "wrap",
    [
        parametrizations.weight_norm,
        parametrizations.spectral_norm,
        nn.utils.weight_norm,
        nn.utils.spectral_norm,
        lambda layer: prune.random_unstructured(layer, "weight", 0.5),
    ],
)
def test_computed_weights_become_ordinary_and_fold(wrap):
    torch.manual_seed(0)
    network = randomise_norms(nn.Sequential(wrap(nn.Conv2d(1, 4, 3)), nn.BatchNorm2d(4)), seed=1).eval()
    network(EXAMPLE)
    fused = fuse(network)
    assert isinstance(fused[1], nn.Identity)
    assert type(fused[0]) is nn.Conv2d
    assert {name for name, _ in fused.named_parameters()} == {"0.weight", "0.bias"}
    right = network(EXAMPLE)
    assert (fused(EXAMPLE) - right).abs().max() < 1e-5 * right.abs().max()
    network.train()(EXAMPLE.expand(4, 1, 8, 8)).sum().backward()  # still computed where it was


class _Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 4, 1), nn.Conv2d(1, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.one(x) + self.two(x)

    def folded(self) -> nn.Module:
        merged = nn.Conv2d(1, 4, 1)
        assert self.one.bias is not None
        assert self.two.bias is not None
        merged.weight.data = self.one.weight.data + self.two.weight.data
        merged.bias.data = self.one.bias.data + self.two.bias.data
        return merged


def test_a_modules_own_folding_takes_its_place_and_its_norm_folds_on():
    network = randomise_norms(nn.Sequential(_Branches(), nn.BatchNorm2d(4))).eval()
    fused = fuse(network)
    assert isinstance(fused[0], nn.Conv2d)
    assert isinstance(fused[1], nn.Identity)
    assert (fused(EXAMPLE) - network(EXAMPLE)).abs().max() < 1e-5
    assert isinstance(network[0], _Branches)


class _FeatureFusion(nn.Module):
    """Names that mean something else: a child, and a method with an argument."""

    def __init__(self) -> None:
        super().__init__()
        self.fuse = nn.Conv2d(1, 4, 1)

    def folded(self, x: Tensor) -> Tensor:
        return x.relu()

    def forward(self, x: Tensor) -> Tensor:
        return self.folded(self.fuse(x))


def test_what_only_has_the_name_of_a_folding_is_left_alone():
    network = _FeatureFusion().eval()
    assert torch.equal(fuse(network)(EXAMPLE), network(EXAMPLE))


def test_a_folding_that_returns_no_module_is_named():
    class Forgetful(nn.Identity):
        def folded(self) -> None:
            return None

    with pytest.raises(ValueError, match=r"Forgetful\.folded\(\) must return the module"):
        fuse(nn.Sequential(Forgetful()))
