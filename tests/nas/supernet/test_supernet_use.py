"""What users do with a supernet and its networks, on purpose or not: it stays exact or says what is wrong."""

from __future__ import annotations

import copy
import pickle
import weakref
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nas.supernet.cloning import Templates
from nas.supernet.supernet import Supernet
from search_spaces.choice import Choice
from search_spaces.mixers.registry import MIXERS, Mixer, register_mixer
from search_spaces.space import Arch, SearchSpace
from search_spaces.spaces.metaformer import Stage, metaformer


def flat_space(build: Callable[[int], nn.Module]) -> SearchSpace:
    choices = [Choice("size", (2, 4))]
    return SearchSpace("flat", choices, lambda arch: build(int(arch["size"])), input_shape=(4,))


def linears(size: int) -> nn.Module:
    return nn.Sequential(nn.Linear(4, size), nn.ReLU(), nn.Linear(size, 2))


def two_convolutions(arch: Arch) -> nn.Module:
    width = int(arch["width"])
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.Conv2d(width, 4, 3), nn.AdaptiveAvgPool2d(1))


def convolutions() -> SearchSpace:
    return SearchSpace("convolutions", [Choice("width", (4, 8))], two_convolutions, input_shape=(3, 8, 8))


class Pointwise(nn.Module):
    """A mixer of which no twin can be made: a lambda holds it."""

    def __init__(self, channels: int, *, activation: str) -> None:
        super().__init__()
        del activation
        self.mix = nn.Conv2d(channels, channels, 1)
        self.steps = [lambda x: self.mix(x), torch.tanh]

    def forward(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = step(x)
        return x


@pytest.fixture
def pointwise() -> Iterator[str]:
    register_mixer(Mixer(name="pointwise", make=Pointwise))
    yield "pointwise"
    MIXERS._entries.pop("pointwise")


def test_equal_layers_without_twins_are_modules_of_their_own(pointwise: str) -> None:
    stage = Stage(widths=(8,), depths=(2,), mixers=(pointwise,), ratios=(1,))
    space = metaformer("closing", [stage], classes=4, input_shape=(3, 8, 8))
    supernet = Supernet(space, seed=0)
    for network in (supernet.subnet(space.largest()), supernet.extract(space.largest())):
        assert {name for name, _ in network.named_parameters()} == set(supernet.index)


@pytest.mark.parametrize(
    "convert",
    [
        lambda network: network.half(),
        lambda network: network.double(),
        lambda network: network.to(memory_format=torch.channels_last),
    ],
)
def test_a_converted_subnet_leaves_later_ones_on_the_shared_weights(
    convert: Callable[[nn.Module], nn.Module],
) -> None:
    space = convolutions()
    supernet, images = Supernet(space, seed=0), torch.randn(2, 3, 8, 8)
    for arch in (space.largest(), space.smallest()):
        expected = supernet.extract(arch)(images)
        convert(supernet.subnet(arch))
        subnet = supernet.subnet(arch)
        assert torch.equal(subnet(images), expected)
        supernet.zero_grad()
        subnet(images).sum().backward()
        assert all(gradient.any() for gradient in supernet.grad.values())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copied_supernet_trains_by_itself(copied: Callable[[Supernet], Supernet]) -> None:
    space = convolutions()
    supernet, images = Supernet(space, seed=0), torch.randn(2, 3, 8, 8)
    other = copied(supernet)
    expected = supernet.subnet(space.smallest())(images)
    assert torch.equal(other.subnet(other.space.smallest())(images), expected)
    optimizer = torch.optim.AdamW(other.optimizer_groups(0.0), lr=0.1)
    other.zero_grad()
    subnet = other.subnet(other.space.smallest())
    subnet(images).square().sum().backward()
    other.expose_gradients({name for name, _ in subnet.named_parameters()})
    optimizer.step()
    assert not torch.equal(other.subnet(other.space.smallest())(images), expected)
    assert torch.equal(supernet.subnet(space.smallest())(images), expected)


def test_large_buffers_that_are_equal_are_held_once() -> None:
    templates = Templates(torch.device("cpu"))
    mask = torch.arange(4096.0)
    held = templates.of(mask)
    assert templates.of(mask.clone()) is held
    assert templates.of(mask.clone() + 1) is not held
    assert templates.of(mask.clone().double()) is not held
    assert templates.of(mask.clone().view(64, 64)) is not held


# -- networks that were not looked at --------------------------------------------------------------

RARE = {f"c{index}": index % 3 % 2 for index in range(14)}


def rare_space(other: Callable[[], nn.Module], probes: tuple[Arch, ...] = ()) -> SearchSpace:
    """One arch in 16,384 ends with something else."""

    def build(arch: Arch) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 4), other() if dict(arch) == RARE else nn.BatchNorm1d(4))

    choices = [Choice(name, (0, 1)) for name in RARE]
    return SearchSpace("rare", choices, build, input_shape=(4,), probes=probes)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: nn.LayerNorm(4), "'1.weight' is of a LayerNorm here and of a BatchNorm1d elsewhere"),
        (lambda: nn.Linear(4, 4), "'1.weight' is of a Linear here"),
        (lambda: nn.BatchNorm1d(5), r"'1.weight': shape \(5,\) does not fit into \(4,\)"),
        (lambda: nn.Sequential(nn.Linear(4, 2)), "'1.0.weight' was in no network that was looked at"),
    ],
)
def test_a_network_that_was_not_looked_at_and_differs_is_refused(
    other: Callable[[], nn.Module], message: str
) -> None:
    supernet = Supernet(rare_space(other))
    with pytest.raises(ValueError, match=rf"arch .*: parameter {message}.*SearchSpace\(\.\.\., probes"):
        supernet.subnet(RARE)


def test_probes_of_a_space_are_looked_at_by_whoever_makes_its_supernet(tmp_path: Path) -> None:
    space = rare_space(lambda: nn.Sequential(nn.Linear(4, 2)), probes=(RARE,))
    supernet = Supernet(space, seed=0)
    supernet.save(tmp_path / "supernet.safetensors")
    loaded = Supernet.load(tmp_path / "supernet.safetensors", space)
    images = torch.randn(3, 4)
    assert torch.equal(loaded.subnet(RARE)(images), supernet.subnet(RARE)(images))


class Sides(nn.Module):
    """The sum of what its parts give, each of a kernel of its own and so by its own name."""

    def __init__(self, parts: list[nn.Conv2d]) -> None:
        super().__init__()
        for index, part in enumerate(parts):
            self.add_module(f"part{index}_{part.kernel_size[0]}", part)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([part(x) for part in self.children()]).sum(dim=0)


def test_the_largest_of_categories_is_looked_at() -> None:
    """Its parameters may be in no network that is near the last or the first value of every category."""

    def build(arch: Arch) -> nn.Module:
        sizes = {"small": 1, "dear": 9, "middle": 5}
        parts = [nn.Conv2d(3, 1, sizes[str(value)], padding="same") for value in arch.values()]
        network = nn.Sequential(nn.Conv2d(3, 3, 1), Sides(parts))
        if set(arch.values()) == {"dear"}:
            network.append(nn.Conv2d(1, 1, 1))
        return network

    choices = [Choice(f"op{index}", ("small", "dear", "middle")) for index in range(7)]
    space = SearchSpace("categories", choices, build, input_shape=(3, 9, 9))
    assert set(space.largest().values()) == {"dear"}
    assert len(list(Supernet(space).subnet(space.largest()).children())) == 3


def test_what_is_frozen_in_some_networks_only_is_refused() -> None:
    def build(size: int) -> nn.Module:
        network = linears(size)
        network[0].requires_grad_(size == 4)
        return network

    with pytest.raises(ValueError, match=r"'0.weight' is frozen .* in arch {'size': 2} and trained in arch"):
        Supernet(flat_space(build))


# -- constructors ---------------------------------------------------------------------------------


class Projected(nn.Module):
    """A fixed projection, drawn by an initialiser (as in Performers)."""

    projection: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("projection", nn.init.orthogonal_(torch.empty(4, 4)))
        self.head = nn.Linear(4, size)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x @ self.projection)[:, :2]


def test_buffers_that_an_initialiser_fills_are_filled() -> None:
    supernet = Supernet(flat_space(Projected))
    for network in (supernet.subnet({"size": 2}), supernet.extract({"size": 2})):
        assert torch.allclose(network.projection @ network.projection.T, torch.eye(4), atol=1e-5)


class Child(nn.Module):
    """Asks its parent, which it must not own."""

    def __init__(self, parent: Parent, size: int) -> None:
        super().__init__()
        self.parent = weakref.ref(parent)
        self.linear = nn.Linear(4, size)

    def forward(self, x: Tensor) -> Tensor:
        parent = self.parent()
        assert parent is not None
        return self.linear(x) * parent.scale


class Parent(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.child = Child(self, size)

    def forward(self, x: Tensor) -> Tensor:
        return self.child(x)[:, :2]


def test_a_child_that_knows_its_parent_weakly_knows_its_own() -> None:
    supernet, images = Supernet(flat_space(Parent)), torch.randn(3, 4)
    for _ in range(3):
        subnet = supernet.subnet({"size": 2})
        assert subnet.child.parent() is subnet
        assert torch.equal(subnet(images), supernet.extract({"size": 2})(images))


class Unregistered(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.head, self.scales = nn.Linear(4, size), [nn.Parameter(torch.ones(4))]


def test_constructors_that_cannot_be_shared_are_told_why() -> None:
    with pytest.raises(ValueError, match=r"Unregistered.scales keeps a parameter .*nn.ParameterList"):
        Supernet(flat_space(Unregistered))
    with pytest.raises(ValueError, match="returned a network that it had returned before"):
        Supernet(flat_space(cache(linears)))
    with pytest.raises(ValueError, match=r"has to return the network, an nn.Module; it returned None"):
        Supernet(flat_space(lambda size: None))  # type: ignore[arg-type, return-value]


def test_weights_that_are_only_read_compute_the_same_bits() -> None:
    def build(size: int) -> nn.Module:
        return nn.GRU(4, size, batch_first=True)

    space = flat_space(build)
    supernet, sequences = Supernet(space, seed=0), torch.randn(3, 5, 4)
    reading = Supernet.reading(space, supernet.index, supernet.flat)
    for size in (2, 4):
        ours, theirs = (one.subnet({"size": size})(sequences)[0] for one in (reading, supernet))
        assert torch.equal(ours, theirs)
