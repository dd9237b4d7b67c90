"""Counts: per layer they add up to those of the built network, and the peak is what really is alive."""

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from nas.costs.counts import analytic
from nas.costs.counts.analytic import AnalyticCosts, count
from nas.costs.counts.memory import peak_activation_bytes
from search_spaces.choice import Choice
from search_spaces.reference.macs import count_macs
from search_spaces.space import SearchSpace
from search_spaces.spaces.presets import preset
from tests.spaces import resnet_space, unet_space, vit_space


@pytest.mark.parametrize(("name", "shape"), [("digits", (1, 8, 8)), ("cifar", (3, 32, 32))])
def test_sums_over_layers_equal_the_built_network(name: str, shape: tuple[int, ...]) -> None:
    space = preset(name, classes=10, input_shape=shape)
    rows = space.sample(2, np.random.default_rng(0))
    costs = AnalyticCosts(space)(rows)
    for index, row in enumerate(rows):
        built = count(space.build(space.to_arch(row)), shape)
        assert costs["macs"][index] == built.macs
        assert costs["params"][index] == built.params
        assert costs["peak_memory_bytes"][index] == built.peak_memory_bytes
        assert costs["size_bytes"][index] == 4 * built.params


def test_known_layers_have_known_counts() -> None:
    counts = count(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)), (3, 5, 5))
    assert counts.macs == 3 * 8 * 9 * 25
    assert counts.params == 3 * 8 * 9 + 16
    assert counts.peak_memory_bytes == 4 * (3 * 25 + 8 * 25)


class _Watch(TorchDispatchMode):
    """The most bytes of tensors alive at once, as really allocated."""

    def __init__(self, ignore: set[int]) -> None:
        super().__init__()
        self.alive: dict[int, int] = {}
        self.peak = 0
        self._ignore = ignore

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            storage = result.untyped_storage()
            key = storage.data_ptr()
            if key not in self.alive and key not in self._ignore and key:
                self.alive[key] = storage.nbytes()
                weakref.finalize(storage, self.alive.pop, key, None)
                self.peak = max(self.peak, sum(self.alive.values()))
        return result


def test_the_peak_is_what_a_run_has_alive() -> None:
    """Without norms and activations to fold, eager PyTorch holds exactly what liveness predicts."""

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(4, 16, 1)
            self.second = nn.Conv2d(16, 4, 1)
            self.third = nn.Conv2d(4, 8, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            inner = self.second(self.first(x))
            return self.third(x + inner)

    module = Branches().eval()
    image = torch.randn(1, 4, 16, 16)
    parameters = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    with torch.no_grad(), _Watch(parameters) as watch:
        module(image.clone())
    predicted = peak_activation_bytes(module, (4, 16, 16))
    assert predicted == 4 * 256 * (4 + 16 + 4)  # the input stays for the residual beside the expansion
    assert watch.peak == pytest.approx(predicted, rel=0.35)


def test_a_space_that_only_builds_is_counted_without_building_each_network() -> None:
    built = []

    def build(arch: Any) -> nn.Module:
        built.append(arch)
        return nn.Sequential(nn.Conv2d(3, int(arch["width"]), 3), nn.ReLU())

    space = SearchSpace("mine", [Choice("width", (4, 8))], build=build, input_shape=(3, 8, 8))
    costs = AnalyticCosts(space, peak_memory=False)
    rows = np.array([[0], [1], [0]])
    np.testing.assert_array_equal(costs.params(rows), [4 * 28, 8 * 28, 4 * 28])
    np.testing.assert_array_equal(costs.macs(rows), [4 * 27 * 36, 8 * 27 * 36, 4 * 27 * 36])
    before = len(built)
    assert set(costs(np.repeat(rows, 100, axis=0))) == {"macs", "params", "size_bytes"}
    assert len(built) == before


@pytest.mark.parametrize("make", [resnet_space, vit_space, unet_space])
def test_users_networks_count_as_built(make: Callable[[], SearchSpace]) -> None:
    space = make()
    costs = AnalyticCosts(space)
    rows = space.sample(5, np.random.default_rng(4))
    found = costs(rows)
    for index, row in enumerate(rows):
        network = space.build(space.to_arch(row))
        whole = count(network, (3, 16, 16))
        assert found["macs"][index] == whole.macs
        assert found["params"][index] == sum(p.numel() for p in network.parameters()) == whole.params
        assert found["peak_memory_bytes"][index] == whole.peak_memory_bytes


def test_a_module_that_tracing_cannot_see_into_is_counted_all_the_same() -> None:
    class Attending(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(width, 1, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x.flatten(2)
            return self.attention(x, x, x, need_weights=False)[0]

    space = SearchSpace(
        "attending",
        [Choice("width", (64,))],
        build=lambda arch: Attending(int(arch["width"])),
        input_shape=(3, 8, 8),
    )
    macs = AnalyticCosts(space).macs(np.zeros((1, 1), dtype=np.int64))
    assert macs[0] == count(Attending(64), (3, 8, 8)).macs > 0


def test_attention_counts_as_two_matrix_products() -> None:
    class Attention(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.scaled_dot_product_attention(x, x, x)

    assert count(Attention(), (4, 16, 8)).macs == 2 * 4 * 16 * 16 * 8


class Recurrent(nn.Module):
    """A recurrent layer over the rows of (time, features), one step of a cell, or a packed sequence."""

    def __init__(self, inner: nn.Module, packed: bool = False) -> None:
        super().__init__()
        self.inner, self.packed = inner, packed

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.packed:
            x = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([x.shape[1]]), batch_first=True)
        found = self.inner(x)
        found = found[0] if isinstance(found, tuple) else found
        return found.data if self.packed else found


@pytest.mark.parametrize(
    ("layer", "macs"),
    [
        (nn.LSTM(12, 20, batch_first=True), 7 * 4 * 20 * (12 + 20)),
        (nn.GRU(12, 20, batch_first=True, bias=False), 7 * 3 * 20 * (12 + 20)),
        (nn.RNN(12, 20, batch_first=True), 7 * 20 * (12 + 20)),
        (nn.RNN(12, 20, nonlinearity="relu"), 7 * 20 * (12 + 20)),
        (
            nn.LSTM(12, 20, num_layers=2, bidirectional=True, batch_first=True),
            7 * 2 * (4 * 20 * (12 + 20) + 4 * 20 * (40 + 20)),
        ),
        (nn.LSTM(12, 20, proj_size=5, batch_first=True), 7 * (4 * 20 * (12 + 5) + 20 * 5)),
        (nn.GRU(12, 20, num_layers=3, batch_first=True), 7 * 3 * 20 * (12 + 20 + 2 * (20 + 20))),
    ],
)
def test_recurrent_layers_count_their_matrices_at_every_position(layer: nn.Module, macs: int) -> None:
    assert count_macs(Recurrent(layer), (7, 12)) == macs


@pytest.mark.parametrize(("cell", "gates"), [(nn.LSTMCell, 4), (nn.GRUCell, 3), (nn.RNNCell, 1)])
def test_cells_count_one_step(cell: Any, gates: int) -> None:
    assert count_macs(Recurrent(cell(12, 20)), (12,)) == gates * 20 * (12 + 20)


def test_a_packed_sequence_counts_what_it_holds() -> None:
    assert count_macs(Recurrent(nn.LSTM(12, 20, batch_first=True), packed=True), (7, 12)) == 7 * 80 * 32


def test_layers_are_not_counted_again_where_the_space_has_counted_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    space = preset("digits", classes=10, input_shape=(1, 8, 8))
    macs = space.layer_macs
    monkeypatch.setattr(analytic, "count_macs", None)
    assert (AnalyticCosts(space).per_layer("macs") == macs).all()


def test_padding_in_a_word_changes_no_count() -> None:
    for groups in (1, 4):
        said, given = (nn.Conv2d(4, 8, 3, padding=padding, groups=groups) for padding in ("same", 1))
        assert count_macs(said, (4, 6, 5)) == count_macs(given, (4, 6, 5)) == 8 * 4 // groups * 9 * 30
