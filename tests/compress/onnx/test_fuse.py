"""Folding changes no output beyond rounding and touches only what can be folded."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

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
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) if x.sum() > 0 else self.body(-x)


def test_the_children_of_an_untraceable_module_are_folded():
    network = randomise_norms(_Untraceable()).eval()
    fused = fuse(network)
    assert isinstance(fused.body[1], nn.Identity)
    assert (fused(EXAMPLE) - network(EXAMPLE)).abs().max() < 1e-5


class _Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 4, 1), nn.Conv2d(1, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.one(x) + self.two(x)

    def fuse(self) -> nn.Module:
        merged = nn.Conv2d(1, 4, 1)
        assert self.one.bias is not None
        assert self.two.bias is not None
        merged.weight.data = self.one.weight.data + self.two.weight.data
        merged.bias.data = self.one.bias.data + self.two.bias.data
        return merged


def test_a_modules_own_fusion_takes_its_place_and_its_norm_folds_on():
    network = randomise_norms(nn.Sequential(_Branches(), nn.BatchNorm2d(4))).eval()
    fused = fuse(network)
    assert isinstance(fused[0], nn.Conv2d)
    assert isinstance(fused[1], nn.Identity)
    assert (fused(EXAMPLE) - network(EXAMPLE)).abs().max() < 1e-5
    assert isinstance(network[0], _Branches)


def test_a_fusion_that_returns_no_module_is_named():
    class Forgetful(nn.Identity):
        def fuse(self) -> None:
            return None

    with pytest.raises(ValueError, match=r"Forgetful\.fuse\(\) must return the module"):
        fuse(nn.Sequential(Forgetful()))
