"""What users build their networks of: what can be shared is exact, and what cannot is told why."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.spectral_norm import spectral_norm

from nas.supernet.prefix import check_prefix_rule
from nas.supernet.supernet import Supernet
from search_spaces.choice import Choice
from search_spaces.space import Arch, SearchSpace

Enter = Callable[[int, int], nn.Module]


class Net(nn.Module):
    """Makes (N, channels, positions...) of (N, 3, 16, 16), takes the mean, and classifies."""

    def __init__(self, enter: nn.Module, width: int) -> None:
        super().__init__()
        self.enter, self.head = enter, nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.enter(x).flatten(2).mean(2))


class Recurrent(nn.Module):
    """Rows of an image as a sequence."""

    def __init__(self, kind: type[nn.RNNBase], width: int, depth: int) -> None:
        super().__init__()
        self.cells = kind(48, width, num_layers=depth, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.cells(x.permute(0, 2, 1, 3).flatten(2))[0].transpose(1, 2)


class Listed(nn.Module):
    """A parameter list."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.scales = nn.ParameterList([nn.Parameter(torch.rand(width, 3, 1, 1)) for _ in range(depth)])

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([nn.functional.conv2d(x, scale) for scale in self.scales]).sum(0)


def space_of(enter: Enter) -> SearchSpace:
    def build(arch: Arch) -> nn.Module:
        width = int(arch["width"])
        return Net(enter(width, int(arch["depth"])), width)

    choices = [Choice("width", (8, 16)), Choice("depth", (1, 2))]
    return SearchSpace("users", choices, build, input_shape=(3, 16, 16))


SHARED: dict[str, Enter] = {
    "lstm": lambda width, depth: Recurrent(nn.LSTM, width, depth),
    "gru": lambda width, depth: Recurrent(nn.GRU, width, depth),
    "weight norm": lambda width, _: parametrizations.weight_norm(nn.Conv2d(3, width, 3)),
    "transposed": lambda width, _: nn.Sequential(
        nn.Conv2d(3, width, 3, 2, 1), nn.ConvTranspose2d(width, width, 2, 2)
    ),
    "parameter list": Listed,
}
REFUSED: dict[str, tuple[Enter, str]] = {
    "lazy": (lambda width, _: nn.LazyConv2d(width, 3), "'enter.weight' of a LazyConv2d .* no shape"),
    "float64": (lambda width, _: nn.Conv2d(3, width, 3, dtype=torch.float64), "'enter.weight' .* is float64"),
    "spectral norm": (
        lambda width, _: parametrizations.spectral_norm(nn.Conv2d(3, width, 3)),
        "module 'enter' has spectral_norm",
    ),
    "old spectral norm": (
        lambda width, _: spectral_norm(nn.Conv2d(3, width, 3)),
        "module 'enter' has spectral_norm",
    ),
    "scripted": (lambda width, _: torch.jit.script(nn.Conv2d(3, width, 3)), "module 'enter' is scripted"),
}


@pytest.mark.parametrize("name", SHARED)
def test_what_can_be_shared_is_exact(name: str) -> None:
    space = space_of(SHARED[name])
    supernet = Supernet(space, seed=0)
    x = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for arch in (space.largest(), space.smallest()):
        subnet, network = supernet.subnet(arch), supernet.extract(arch)
        assert torch.equal(subnet(x), network(x))
        supernet.zero_grad()
        subnet(x).square().sum().backward()
        network(x).square().sum().backward()
        theirs = dict(network.named_parameters())
        for at, parameter in subnet.named_parameters():
            assert parameter.grad is not None
            torch.testing.assert_close(parameter.grad, theirs[at].grad)
        total = sum(float(gradient.abs().sum()) for gradient in supernet.grad.values())
        used = sum(float(p.grad.abs().sum()) for p in subnet.parameters() if p.grad is not None)
        assert total == pytest.approx(used, rel=1e-4)


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_is_told_why(name: str) -> None:
    enter, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        Supernet(space_of(enter), seed=0)


def test_weight_norm_keeps_to_the_prefix_rule_and_packed_gates_do_not() -> None:
    assert check_prefix_rule(space_of(SHARED["weight norm"]), seed=0)
    with pytest.raises(ValueError, match=r"'enter.cells' \(LSTM\) computes depends on the active width"):
        check_prefix_rule(space_of(SHARED["lstm"]), seed=0)
