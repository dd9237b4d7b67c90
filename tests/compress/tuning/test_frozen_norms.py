"""Folded on the way: outputs and gradients are those of eval mode, in float64, and nothing is left behind."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from compress.tuning.frozen_norms import FoldedConv, FrozenNorm, frozen_norms


class Net(nn.Module):
    """Pairs of several kinds, a convolution that two norms read, and a norm without a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 6, 3, padding="same", padding_mode="reflect"), nn.BatchNorm2d(6)
        self.deep, self.deep_norm = nn.Conv2d(6, 6, 3, 2, 1, groups=6, bias=False), nn.BatchNorm2d(6)
        self.up, self.up_norm = nn.ConvTranspose2d(6, 4, 2, 2), nn.BatchNorm2d(4, affine=False)
        self.twice, self.first, self.second = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x)).relu()
        x = self.up_norm(self.up(self.deep_norm(self.deep(x)).relu()))
        x = self.twice(x)
        return self.head((self.first(x) * self.second(x)).mean((2, 3)))


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    made = Net().double()
    for one in made.modules():
        if isinstance(one, nn.BatchNorm2d):
            one.running_mean.normal_()
            one.running_var.uniform_(0.5, 2)
            if one.affine:
                nn.init.normal_(one.weight)
                nn.init.normal_(one.bias)
    return made


def gradients(network: nn.Module, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    outputs = network(x)
    outputs.square().sum().backward()
    return outputs, {name: one.grad for name, one in network.named_parameters() if one.grad is not None}


def test_outputs_and_gradients_are_those_of_eval_mode(network: nn.Module) -> None:
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    wanted, by_hand = gradients(copy.deepcopy(network).eval(), x)
    names, before = list(network.state_dict()), copy.deepcopy(network.state_dict())
    with frozen_norms(network) as tuned:
        tuned.train()
        assert sum(isinstance(one, FoldedConv) for one in tuned.modules()) == 3
        assert sum(isinstance(one, FrozenNorm) for one in tuned.modules()) == 2
        outputs = tuned(x)
        outputs.square().sum().backward()
    torch.testing.assert_close(outputs, wanted)
    found = {name: one.grad for name, one in network.named_parameters()}
    assert found.keys() == by_hand.keys()
    for name, gradient in by_hand.items():
        torch.testing.assert_close(found[name], gradient, msg=name)
    assert list(network.state_dict()) == names
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert {type(one) for one in network.modules()} == {type(one) for one in Net().modules()}


def test_modules_come_back_after_an_error(network: nn.Module) -> None:
    with pytest.raises(RuntimeError), frozen_norms(network):
        network(torch.zeros(1, 5, 8, 8, dtype=torch.float64))
    assert not any(isinstance(one, FoldedConv | FrozenNorm) for one in network.modules())
