"""Every criterion against its formula, written in loops and float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from compress.pruning.channels import dependency_graph, group_of
from compress.pruning.groups import ChannelGroup
from compress.pruning.importance import CRITERIA, Material, criterion
from compress.pruning.masks import without
from compress.pruning.prune import prune

EXAMPLE = torch.rand(1, 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
IMAGES = torch.rand(5, 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
CHANNELS = 6


class _Small(nn.Module):
    """One hidden group of six channels, made and read by convolutions, and one that a linear layer reads."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, CHANNELS, 3, padding=1)
        self.second = nn.Conv2d(CHANNELS, 4, 1)
        self.head = nn.Linear(4 * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(x).tanh()).tanh().flatten(1))


@pytest.fixture
def network() -> _Small:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return _Small().double().eval()


def _loss(network: nn.Module) -> Tensor:
    return nn.functional.cross_entropy(network(IMAGES), torch.tensor([0, 1, 2, 0, 1]))


def _scores(network: nn.Module, spec: object, root: str = "first") -> Tensor:
    asked = criterion(spec)  # type: ignore[arg-type]
    graph = dependency_graph(network, EXAMPLE)
    if "gradients" in asked.needs:
        _loss(network).backward()
    groups = tuple(
        (
            ChannelGroup(root=name, channels=layer.out_channels),
            group_of(graph, layer, range(layer.out_channels)),
        )
        for name, layer in (("first", network.first), ("second", network.second))
    )
    before = {name: value.clone() for name, value in network.state_dict().items()}
    asked.look(Material(network=network, groups=groups, loss=_loss, images=IMAGES))
    for name, value in network.state_dict().items():
        assert torch.equal(before[name], value), f"{name} is not what it was"
    parts = next(parts for group, parts in groups if group.root == root)
    return asked.score(parts).detach().double()


def _mean_one(values: list[float]) -> list[float]:
    mean = sum(values) / len(values)
    return [value / mean for value in values]


def _close(found: Tensor, expected: list[float], reach: float = 1e-6) -> None:
    assert found.tolist() == pytest.approx(expected, rel=reach)


def _weights(network: _Small, channel: int) -> tuple[list[float], list[float]]:
    """Weights that make a channel of the first group, and those that read it."""
    made = [float(v) for v in network.first.weight[channel].flatten().detach()]
    read = [float(network.second.weight[out, channel, 0, 0]) for out in range(4)]
    return made, read


@pytest.mark.parametrize(("spec", "p"), [("l2", 2), ("l1", 1), ({"kind": "magnitude", "p": 3.0}, 3)])
def test_magnitude_is_the_mean_of_the_layers_norms(network, spec, p):
    sums = [
        sum(sum(abs(v) ** p for v in side) for side in _weights(network, channel)) / 2
        for channel in range(CHANNELS)
    ]
    _close(_scores(network, spec), _mean_one(sums), 1e-5)


def test_lamp_is_the_norm_over_those_at_least_as_large(network):
    norms = [
        sum(sum(v * v for v in side) for side in _weights(network, channel)) / 2
        for channel in range(CHANNELS)
    ]
    expected = [own / sum(other for other in norms if other >= own) for own in norms]
    _close(_scores(network, "lamp"), expected, 1e-5)


def test_taylor_is_the_sum_of_weight_times_gradient(network):
    _loss(network).backward()
    sums = []
    for channel in range(CHANNELS):
        made = network.first.weight[channel] * network.first.weight.grad[channel]
        read = network.second.weight[:, channel] * network.second.weight.grad[:, channel]
        sums.append(sum(abs(float(v)) for v in [*made.flatten(), *read.flatten()]) / 2)
    network.zero_grad()
    _close(_scores(network, "taylor"), _mean_one(sums), 1e-5)


def test_fpgm_is_the_sum_of_distances_to_the_other_filters(network):
    made = [_weights(network, channel)[0] for channel in range(CHANNELS)]
    expected = [
        sum(math.sqrt(sum((a - b) ** 2 for a, b in zip(one, other, strict=True))) for other in made)
        for one in made
    ]
    _close(_scores(network, "fpgm"), expected)


def test_dimap_is_the_share_of_all_that_is_as_large_in_the_kind(network):
    kinds = {"convolutions": "first|second"}
    every = [float(v) ** 2 for layer in (network.first, network.second) for v in layer.weight.flatten()]

    def share(value: float) -> float:
        return value**2 / sum(other for other in every if other >= value**2)

    expected = []
    for channel in range(CHANNELS):
        sides = _weights(network, channel)
        expected.append(sum(sum(share(v) for v in side) / len(side) for side in sides) / 2)
    _close(_scores(network, {"kind": "dimap", "kinds": kinds}), expected)
    with pytest.raises(ValueError, match=r"kinds\.queries is no regular expression"):
        criterion({"kind": "dimap", "kinds": {"queries": "("}})


def test_activation_is_weights_times_the_norm_of_what_they_read(network):
    with torch.no_grad():
        read = network.first(IMAGES).tanh()
    expected = []
    for channel in range(CHANNELS):
        norm = math.sqrt(sum(float(v) ** 2 for v in read[:, channel].flatten()))
        expected.append(sum(abs(v) for v in _weights(network, channel)[1]) * norm)
    _close(_scores(network, "activation"), expected)
    with torch.no_grad():  # behind a flatten each channel is sixteen inputs of the linear layer
        read = network.second(read).tanh()
    sums = [
        sum(
            float(network.head.weight[:, 16 * channel + at].abs().sum())
            * math.sqrt(sum(float(v) ** 2 for v in read[:, channel].flatten(1)[:, at]))
            for at in range(16)
        )
        for channel in range(4)
    ]
    _close(_scores(network, "activation", "second"), sums)


def test_keep_frequency_counts_the_images_a_channel_is_needed_for(network):
    with torch.no_grad():
        largest = network.first(IMAGES).tanh().flatten(2).abs().amax(2)
    counts = [0.0] * CHANNELS
    for row in largest.tolist():
        total, so_far = sum(row), 0.0
        for channel in sorted(range(CHANNELS), key=lambda one: -row[one]):
            if so_far >= 0.5 * total:
                break
            counts[channel] += 1
            so_far += row[channel]
    _close(_scores(network, {"kind": "keep_frequency", "mass": 0.5}), counts)


def test_hessian_is_half_the_diagonal_times_the_square_of_the_weight():
    """Where the Hessian is diagonal one draw is exact: a loss that is a sum of squares of single weights."""

    def loss(network: nn.Module) -> Tensor:
        scale = torch.arange(1.0, 55.0).double().reshape(3, 2, 3, 3)
        return (scale * network[0].weight ** 4).sum() + 0 * network(EXAMPLE).sum()

    plain = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Conv2d(3, 2, 1)).double()
    graph = dependency_graph(plain, EXAMPLE)
    parts = group_of(graph, plain[0], range(3))
    asked = criterion({"kind": "hessian", "draws": 1})
    asked.look(Material(network=plain, groups=((ChannelGroup(root="0", channels=3), parts),), loss=loss))
    expected = []
    for channel in range(3):
        values = plain[0].weight[channel].flatten().tolist()
        scales = range(1 + 18 * channel, 19 + 18 * channel)
        rises = [0.5 * 12 * scale * v**2 * v**2 for scale, v in zip(scales, values, strict=True)]
        expected.append(sum(rises) / 2)  # the layer that reads them has no second derivative: half of it
    _close(asked.score(parts).double(), expected)


def _masked(network: _Small, channel: int) -> tuple[Tensor, Tensor]:
    """What the network computes without a channel: inputs of the second layer's tanh, and outputs."""
    with torch.no_grad():
        hidden = network.first(IMAGES).tanh()
        hidden[:, channel] = 0
        second = network.second(hidden)
        return second, network.head(second.tanh().flatten(1))


def _divergence(one: Tensor, other: Tensor, temperature: float) -> float:
    total = 0.0
    for a, b in zip((one / temperature).softmax(1), (other / temperature).softmax(1), strict=True):
        total += sum(float(p) * math.log(float(p) / float(q)) for p, q in zip(a, b, strict=True))
    return total / len(one) * temperature**2


def test_class_conditional_is_the_divergence_on_images_of_those_classes(network):
    with torch.no_grad():
        whole = network(IMAGES)
    of_class = int(whole.argmax(1)[0])
    chosen = [index for index in range(len(IMAGES)) if int(whole[index].argmax()) == of_class]
    expected = [
        _divergence(whole[chosen], _masked(network, channel)[1][chosen], 1.0) for channel in range(CHANNELS)
    ]
    _close(_scores(network, {"kind": "class_conditional", "classes": [of_class]}), expected)
    with pytest.raises(ValueError, match=r"no classes \(7,\) among outputs of shape \(5, 3\)"):
        _scores(network, {"kind": "class_conditional", "classes": [7]})


def test_one_output_is_that_of_the_second_of_two_classes(network):
    """Its softmax is 1 with any channel and without."""
    network.head = nn.Linear(4 * 16, 1).double()
    with torch.no_grad():
        both = [
            torch.cat([torch.zeros(len(IMAGES), 1), output], 1).double()
            for output in (network(IMAGES), *(_masked(network, one)[1] for one in range(CHANNELS)))
        ]
    _close(_scores(network, "class_conditional"), [_divergence(both[0], other, 1.0) for other in both[1:]])


def test_optin_is_the_change_of_later_inner_products_and_of_the_outputs(network):
    with torch.no_grad():
        second, whole = network.second(network.first(IMAGES).tanh()), network(IMAGES)

    def gram(features: Tensor) -> list[list[float]]:
        rows = features.movedim(1, -1).reshape(-1, 4).tolist()
        rows = [[v / math.sqrt(sum(w * w for w in row)) for v in row] for row in rows]
        return [[sum(a * b for a, b in zip(x, y, strict=True)) for y in rows] for x in rows]

    before, expected = gram(second), []
    for channel in range(CHANNELS):
        features, output = _masked(network, channel)
        after = gram(features)
        squares = [
            (a - b) ** 2 for x, y in zip(before, after, strict=True) for a, b in zip(x, y, strict=True)
        ]
        expected.append(sum(squares) / len(squares) + 0.5 * _divergence(whole, output, 2.0))
    spec = {"kind": "optin_trajectory", "positions": 80, "temperature": 2.0, "output_weight": 0.5}
    _close(_scores(network, spec), expected)  # all 5 * 16 positions: nothing is drawn


def test_learned_gates_shut_where_the_loss_does_not_mind(network):
    with torch.no_grad():
        network.second.weight[:, [1, 4]] = 0
        whole = network(IMAGES)

    def loss(module: nn.Module) -> Tensor:
        return (module(IMAGES) - whole).square().mean() + 0.01 * whole.square().mean()

    graph = dependency_graph(network, EXAMPLE)
    parts = group_of(graph, network.first, range(CHANNELS))
    asked = criterion({"kind": "learned_gates", "steps": 15, "learning_rate": 0.2})
    asked.look(
        Material(network=network, groups=((ChannelGroup(root="first", channels=6), parts),), loss=loss)
    )
    scores = asked.score(parts)
    assert float(scores[[1, 4]].max()) < float(scores[[0, 2, 3, 5]].max()) - 0.1
    assert float(scores[1]) == pytest.approx(float(scores[4]))
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_group_is_gone_and_comes_back(network):
    graph = dependency_graph(network, EXAMPLE)
    parts = group_of(graph, network.first, range(CHANNELS))
    with torch.no_grad():
        whole = network(IMAGES)
        with without(parts, [2]):
            got = network(IMAGES)
        assert torch.allclose(got, _masked(network, 2)[1], atol=1e-12)
        assert torch.equal(network(IMAGES), whole)


@pytest.mark.parametrize("name", CRITERIA)
def test_what_is_missing_is_said_before_work(network, name):
    needs = CRITERIA[name].needs
    if not needs:
        return
    missing = "looks at images: pass some" if "images" in needs else "pass a loss"
    with pytest.raises(ValueError, match=missing):
        prune(network, EXAMPLE, keep=0.5, counts=1, importance=name)
