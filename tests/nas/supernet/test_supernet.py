"""The contracts of the supernet: exact, independent, and open to any model."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from nas.supernet.building import without_initialisers
from nas.supernet.calibration import recalibrate
from nas.supernet.supernet import Supernet
from search_spaces.choice import Choice
from search_spaces.space import Arch, SearchSpace
from tests.spaces import SPACES, digits_space


def randomised(space: SearchSpace, seed: int = 0) -> Supernet:
    """A supernet with every parameter random: norms at their defaults hide slicing bugs."""
    supernet = Supernet(space, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for flat in supernet.flat.values():
        flat.copy_(torch.randn(flat.shape, generator=generator) * 0.3)
    return supernet


def archs_of(space: SearchSpace, n: int = 6) -> list[Arch]:
    rows = space.sample(n, np.random.default_rng(0))
    return [space.smallest(), space.largest(), *(space.to_arch(row) for row in rows)]


def images_for(space: SearchSpace, n: int = 4) -> torch.Tensor:
    return torch.randn(n, *space.input_shape(space.largest()), generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=SPACES)
def space(request: pytest.FixtureRequest) -> SearchSpace:
    return SPACES[request.param]()


def test_subnet_equals_extracted_bit_for_bit(space: SearchSpace) -> None:
    supernet, images = randomised(space), images_for(space)
    for arch in archs_of(space):
        subnet = recalibrate(supernet.subnet(arch), images)
        extracted = recalibrate(supernet.extract(arch), images)
        assert torch.equal(subnet(images), extracted(images)), arch


ROUNDING = 1e-5
"""Largest difference between gradients, as a share of the largest gradient of the network.

PyTorch may sum the products of a weight's gradient in another order where the gradient is written into a
strided view, and which order depends on the processor. A sum of n float32 products then differs by some
sqrt(n) units of 2^-24: with n up to 4 x 32 x 32 positions here, 4e-6. Measured on an AMD EPYC with AVX-512:
2.3e-7 at most. A wrong slice or a scale that follows the width is wrong by a share of order one.
"""


def test_gradients_land_in_the_used_slice_only_and_are_the_static_networks_to_rounding(
    space: SearchSpace,
) -> None:
    supernet, images = randomised(space), images_for(space)
    for arch in archs_of(space):
        supernet.zero_grad()
        subnet, extracted = supernet.subnet(arch), supernet.extract(arch)
        subnet(images).square().mean().backward()
        extracted(images).square().mean().backward()
        expected = {group: torch.zeros_like(flat) for group, flat in supernet.grad.items()}
        used = {group: torch.zeros_like(flat, dtype=torch.bool) for group, flat in supernet.grad.items()}
        for name, parameter in extracted.named_parameters():
            if parameter.grad is not None:
                entry, shape = supernet.index[name], tuple(parameter.shape)
                entry.view(expected[entry.group], shape).copy_(parameter.grad)
                entry.view(used[entry.group], shape).fill_(True)
        largest = max(float(gradient.abs().max()) for gradient in expected.values())
        for group, gradient in supernet.grad.items():
            assert float((gradient - expected[group]).abs().max()) <= ROUNDING * largest, arch
            assert not gradient[~used[group]].any(), arch


def test_what_runs_or_is_extracted_changes_nothing_for_others(space: SearchSpace) -> None:
    supernet, images = randomised(space), images_for(space)
    first, *others = archs_of(space)
    before = recalibrate(supernet.subnet(first), images)(images)
    for arch in others:
        recalibrate(supernet.subnet(arch), images + 1)
        supernet.extract(arch)(images)
    assert torch.equal(recalibrate(supernet.subnet(first), images)(images), before)


def test_two_subnets_of_one_arch_have_buffers_of_their_own() -> None:
    space = digits_space()
    supernet, images = Supernet(space), images_for(space)
    first, second = supernet.subnet(space.largest()), supernet.subnet(space.largest())
    recalibrate(first, images)
    fresh = dict(supernet.subnet(space.largest()).named_buffers())
    assert all(torch.equal(buffer, fresh[name]) for name, buffer in second.named_buffers())
    assert not all(torch.equal(buffer, fresh[name]) for name, buffer in first.named_buffers())


def test_extracted_network_is_independent(space: SearchSpace) -> None:
    supernet = randomised(space)
    extracted = supernet.extract(space.largest())
    before = {name: parameter.clone() for name, parameter in extracted.named_parameters()}
    for flat in supernet.flat.values():
        flat.zero_()
    assert all(torch.equal(parameter, before[name]) for name, parameter in extracted.named_parameters())


def test_a_step_on_a_subnet_moves_the_shared_weights() -> None:
    space = digits_space()
    supernet, images = Supernet(space), images_for(space)
    subnet = supernet.subnet(space.smallest())
    optimizer = torch.optim.SGD(supernet.optimizer_groups(0.0), lr=0.1)
    before = {group: flat.clone() for group, flat in supernet.flat.items()}
    subnet(images).square().mean().backward()
    supernet.expose_gradients({name for name, _ in subnet.named_parameters()})
    optimizer.step()
    for group, flat in supernet.flat.items():
        assert torch.allclose(flat, before[group] - 0.1 * supernet.grad[group])
        assert not torch.equal(flat, before[group])


def test_unused_parameters_are_hidden_from_the_optimizer() -> None:
    space = digits_space()
    supernet = Supernet(space)
    supernet.expose_gradients({"head.classify.bias"})
    seen = [name for name, parameter in supernet.parameters.items() if parameter.grad is not None]
    assert seen == ["head.classify.bias"]
    supernet.expose_gradients(supernet.index)
    assert all(parameter.grad is not None for parameter in supernet.parameters.values())


def test_clearing_a_subnets_gradients_does_not_cut_it_off() -> None:
    space = digits_space()
    supernet, images = Supernet(space), images_for(space)
    supernet.subnet(space.smallest()).zero_grad(set_to_none=True)
    supernet.subnet(space.smallest())(images).square().mean().backward()
    assert any(gradient.any() for gradient in supernet.grad.values())


def test_constructor_values_that_are_no_parameters_are_kept() -> None:
    space = SPACES["vit"]()
    subnet = Supernet(space).subnet(space.smallest())
    assert torch.equal(subnet.position_index, torch.arange(16).flip(0))
    assert subnet.every[0] is subnet.patch


class Closing(nn.Module):
    """A network with what users keep beside registered modules: a closure, a drawn buffer, a tied buffer."""

    projection: torch.Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(4, size)
        self.head = nn.Linear(size, 2)
        self.norm = nn.BatchNorm1d(2)
        self.register_buffer("projection", torch.randn(4, 4))
        self.scaled = lambda x: self.linear(x) * self.linear.weight.mean()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.head(self.scaled(x @ self.projection)))


def flat_space(build: Callable[[int], nn.Module]) -> SearchSpace:
    choices = [Choice("size", (2, 4))]
    return SearchSpace("flat", choices, lambda arch: build(int(arch["size"])), input_shape=(4,))


def test_a_network_that_refers_to_itself_is_built_each_time_and_is_exact() -> None:
    space = flat_space(Closing)
    supernet, images = randomised(space), images_for(space)
    for size in (2, 4, 2, 2):
        subnet, extracted = supernet.subnet({"size": size}), supernet.extract({"size": size})
        assert torch.equal(subnet(images), extracted(images))
        supernet.zero_grad()
        subnet(images).square().sum().backward()
        assert all(parameter.grad is not None for parameter in subnet.parameters())
        assert supernet.grad["decay"].any()


def test_what_constructors_draw_is_the_same_each_time() -> None:
    supernet = Supernet(flat_space(Closing))
    first, again = supernet.subnet({"size": 2}).projection, supernet.subnet({"size": 2}).projection
    assert torch.equal(first, again)
    assert torch.equal(Supernet(flat_space(Closing)).subnet({"size": 2}).projection, first)


def test_modules_that_are_not_registered_are_reported() -> None:
    class Listed(nn.Module):
        def __init__(self, size: int) -> None:
            super().__init__()
            self.head = nn.Linear(4, 2)
            self.layers = [nn.Linear(4, size)]

    with pytest.raises(ValueError, match=r"Listed.layers keeps modules .* not registered.*nn.ModuleList"):
        Supernet(flat_space(Listed))


def test_hooks_and_lists_belong_to_one_subnet() -> None:
    space = SPACES["vit"]()
    supernet = Supernet(space)
    networks = [supernet.subnet(space.largest()) for _ in range(4)]
    networks[-1].head.register_forward_hook(lambda *_: None)
    networks[-1].every.append(nn.Identity())
    fresh = supernet.subnet(space.largest())
    for network in (*networks[:-1], fresh):
        assert not network.head._forward_hooks
        assert len(network.every) == 2
        assert network.every[1] is network.head
    assert len({id(network.position_index) for network in networks}) == len(networks)


def test_initialisers_work_again_and_in_other_threads() -> None:
    before = {name: one for name, one in vars(nn.init).items() if callable(one)}
    with without_initialisers(torch.device("cpu")):
        mine, theirs, buffer = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(3)), torch.zeros(3)
        nn.init.ones_(mine)
        nn.init.ones_(buffer)
        thread = threading.Thread(target=lambda: nn.init.ones_(theirs))
        thread.start()
        thread.join()
    assert mine.tolist() == [0, 0, 0]
    assert theirs.tolist() == buffer.tolist() == [1, 1, 1]
    assert all(vars(nn.init)[name] is one for name, one in before.items())


def test_building_leaves_the_global_random_state_alone() -> None:
    space = SPACES["vit"]()  # its constructor draws
    supernet = Supernet(space)
    state = torch.get_rng_state()
    supernet.subnet(space.largest())
    assert torch.equal(torch.get_rng_state(), state)


def test_same_seed_same_weights() -> None:
    first, again, other = (Supernet(digits_space(), seed=seed) for seed in (3, 3, 4))
    assert all(torch.equal(first.flat[group], again.flat[group]) for group in first.flat)
    assert not torch.equal(first.flat["decay"], other.flat["decay"])


def test_every_weight_is_initialised(space: SearchSpace) -> None:
    supernet = Supernet(space)
    for name, parameter in supernet.parameters.items():
        if parameter.ndim > 1:
            assert (parameter != 0).float().mean() > 0.99, name


def test_saved_is_loaded(space: SearchSpace, tmp_path: Path) -> None:
    supernet = randomised(space)
    supernet.save(tmp_path / "supernet.safetensors")
    loaded = Supernet.load(tmp_path / "supernet.safetensors", space)
    for name, parameter in supernet.parameters.items():
        assert torch.equal(parameter, loaded.parameters[name]), name


def test_a_missing_truncated_or_foreign_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "supernet.safetensors"
    with pytest.raises(FileNotFoundError, match="no supernet at"):
        Supernet.load(path, digits_space())
    Supernet(SPACES["unet"]()).save(path)
    with pytest.raises(ValueError, match="belongs to another search space"):
        Supernet.load(path, digits_space())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="damaged"):
        Supernet.load(path, SPACES["unet"]())


# -- networks that break the naming rule ----------------------------------------------------------


def one_choice(values: tuple[int, ...], build: object) -> SearchSpace:
    return SearchSpace("bad", [Choice("size", values)], build, input_shape=(4, 8, 8))  # type: ignore[arg-type]


def test_a_name_that_means_two_things_is_reported() -> None:
    def build(arch: Arch) -> nn.Module:
        return nn.Sequential(nn.Conv2d(4, 4, 1) if arch["size"] == 1 else nn.ConvTranspose2d(4, 4, 1))

    with pytest.raises(
        ValueError, match=r"'0.weight' means different things.*'size': 1.*'size': 2|.*different names"
    ):
        Supernet(one_choice((1, 2), build))


def test_depthwise_and_dense_may_not_share() -> None:
    def build(arch: Arch) -> nn.Module:
        return nn.Sequential(nn.Conv2d(4, 4, 3, groups=int(arch["size"])))

    with pytest.raises(ValueError, match=r"depthwise|dense"):
        Supernet(one_choice((1, 4), build))


def test_kernels_of_odd_and_even_size_may_not_share() -> None:
    def build(arch: Arch) -> nn.Module:
        return nn.Sequential(nn.Conv2d(4, 4, int(arch["size"])))

    with pytest.raises(ValueError, match="no centred place"):
        Supernet(one_choice((2, 3), build))


def test_a_declared_centre_is_cropped_around_it() -> None:
    class Table(nn.Module):
        centre_dims: ClassVar = {"table": (0,)}

        def __init__(self, size: int) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.zeros(size))

    supernet = Supernet(one_choice((3, 5), lambda arch: Table(int(arch["size"]))))
    supernet.parameters["table"].data.copy_(torch.arange(5.0))
    assert supernet.subnet({"size": 3}).table.tolist() == [1.0, 2.0, 3.0]


def test_tied_parameters_stay_tied() -> None:
    def build(arch: Arch) -> nn.Module:
        first, second = nn.Linear(4, 4), nn.Linear(4, 4)
        second.weight = first.weight
        return nn.Sequential(first, second, nn.Linear(4, int(arch["size"])))

    supernet = Supernet(SearchSpace("tied", [Choice("size", (1, 2))], build, input_shape=(4,)))
    for network in (supernet.subnet({"size": 1}), supernet.extract({"size": 1})):
        assert network[0].weight is network[1].weight
