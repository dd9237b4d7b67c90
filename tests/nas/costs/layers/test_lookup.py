"""What stands where in a network, learned from examples, and what a network runs."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from nas.costs.layers.lookup import EMPTY, Places, deciding
from nas.costs.layers.trace import calls
from nas.costs.layers.traced import TracedSums
from search_spaces.space import Rows, SearchSpace
from tests.spaces import resnet_space, unet_space, vit_space

SPACES = {"resnet": resnet_space, "vit": vit_space, "unet": unet_space}


def examples(space: SearchSpace) -> Rows:
    ends = np.array([space.to_row(space.smallest()), space.to_row(space.largest())])
    drawn = space.sample(100, np.random.default_rng(0))
    return np.unique(np.vstack([ends, *(space.neighbours(end) for end in ends), drawn]), axis=0)


@pytest.mark.parametrize("name", sorted(SPACES))
def test_looking_up_equals_running_the_network(name: str) -> None:
    space = SPACES[name]()
    traced = TracedSums(space, examples(space))
    unseen = space.sample(60, np.random.default_rng(1))
    each = np.random.default_rng(2).random(len(traced.keys))
    price = dict(zip(traced.keys, each, strict=True))
    for row, total in zip(unseen, traced.sum(unseen, each), strict=True):
        arch = space.to_arch(row)
        found = calls(space.build(arch), space.input_shape(arch), "cpu")
        assert total == pytest.approx(sum(price[call.key] for call in found))


@pytest.mark.parametrize("name", sorted(SPACES))
def test_every_layer_can_be_made_again_and_runs_on_its_own(name: str) -> None:
    space = SPACES[name]()
    for call in calls(space.build(space.largest()), (3, 16, 16), "cpu"):
        output = call.make().eval()(torch.rand(1, *call.input_shape))
        assert tuple(output.shape) == (1, *call.output_shape), call.key


class Odd(nn.Module):
    """Calls in every manner: in place, operators, constants, one module twice, several inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)
        self.scale = nn.Parameter(torch.ones(4, 1, 1))
        self.norm = nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(self.conv(x))
        y += x
        y = F.relu(y, inplace=True) * self.scale
        y = torch.cat([y, 2.0 + x], dim=1).flatten(2).transpose(1, 2)
        y = self.norm(y)
        return F.softmax(y @ y.transpose(1, 2) / 8**0.5, dim=-1)


def test_functions_are_found_however_they_are_called() -> None:
    found = calls(Odd(), (4, 2, 2), "cpu")
    assert [call.kind for call in found] == [
        "Conv2d",
        "Conv2d",
        "add",
        "relu",
        "mul",
        "add",
        "cat",
        "LayerNorm",
        "matmul",
        "div",
        "softmax",
    ]
    assert found[0].key == found[1].key
    assert len({call.place for call in found}) == len(found)
    assert found[4].weight_bytes == 16
    for call in found:
        given = torch.rand(1, *call.input_shape)
        before = given.clone()
        assert tuple(call.make().eval()(given).shape) == (1, *call.output_shape)
        assert torch.equal(given, before), f"{call.key} changed its input"


def test_a_network_is_as_it_was_after_it_was_watched() -> None:
    network = Odd().eval()
    image = torch.rand(1, 4, 2, 2)
    before = network(image)
    calls(network, (4, 2, 2), "cpu")
    assert all("forward" not in module.__dict__ for module in network.modules())
    assert torch.equal(network(image), before)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sets(st.integers(0, 5), max_size=3))
def test_the_deciding_columns_are_found(seed: int, truth: set[int]) -> None:
    rng = np.random.default_rng(seed)
    rows = np.unique(rng.integers(0, 3, (400, 6)), axis=0)
    table = {column: rng.permutation(3) for column in truth}
    standing = sum(
        (table[c][rows[:, c]] * 3**i for i, c in enumerate(sorted(truth))), np.zeros(len(rows), int)
    )
    assert deciding(rows, standing) == tuple(sorted(truth))


def test_what_no_example_showed_is_traced_and_remembered() -> None:
    traced: list[tuple[int, ...]] = []

    def trace(row: Rows) -> dict[str, int]:
        traced.append(tuple(row))
        both = {"always": int(row[0]) * 3 + int(row[1])}
        return both if row[2] == 0 else {**both, "sometimes": 100 + int(row[0])}

    rows = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1]])
    places = Places(np.array([2, 3, 2]), trace, rows, rows[:0])
    traced.clear()
    np.testing.assert_array_equal(places.look_up(np.array([[1, 0, 1]])), [[3, 101]])
    assert not traced
    np.testing.assert_array_equal(places.look_up(np.array([[1, 2, 0]])), [[5, EMPTY]])
    assert traced
    traced.clear()
    np.testing.assert_array_equal(places.look_up(np.array([[1, 2, 0]])), [[5, EMPTY]])
    assert not traced


def test_a_concatenation_with_a_parameter_runs_on_its_own_for_any_batch() -> None:
    """A class token is there once and is put before the tokens of every image."""

    class Token(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token = nn.Parameter(torch.rand(1, 1, 4))

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x, self.token.expand(len(x), -1, -1)], dim=1)

    (call,) = calls(Token(), (3, 4), "cpu")
    assert call.make()(torch.rand(5, 3, 4)).shape == (5, 4, 4)
