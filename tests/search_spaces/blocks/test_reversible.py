"""Reversible blocks: the gradients of plain couplings, and one map kept whatever the depth."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from nas.supernet.supernet import Supernet
from search_spaces.blocks.reversible import Reversible
from search_spaces.spaces.convnet import ConvNet, ConvStage, convnet


def block(couplings: int, *, dtype: torch.dtype = torch.float64) -> Reversible:
    with torch.random.fork_rng():
        torch.manual_seed(couplings)
        made = Reversible(
            16, 16, stride=1, activation="hardswish", couplings=couplings, expansion=2, kernel=3
        )
    return made.to(dtype)


def image(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(3, 16, 5, 4, generator=torch.Generator().manual_seed(0), dtype=dtype)


def plainly(one: Reversible, x: Tensor) -> Tensor:
    """The same couplings, everything kept."""
    a, b = one.deal.split(x)
    for coupling in one.couplings:
        a, b = coupling(a, b)
    return one.deal.join([a, b])


def trained(one: Reversible, x: Tensor, *, plain: bool) -> tuple[Tensor, list[Tensor], Tensor]:
    """Output, gradients of the weights, gradient of x, for some loss."""
    x = x.clone().requires_grad_()
    y = plainly(one, x) if plain else one(x)
    (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)).sum().backward()
    assert x.grad is not None
    return y.detach(), [p.grad for p in one.parameters() if p.grad is not None], x.grad


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-3)])
def test_gradients_and_statistics_are_those_of_plain_couplings(dtype: torch.dtype, tolerance: float) -> None:
    ours = block(4, dtype=dtype)
    theirs = copy.deepcopy(ours)
    x = image(dtype)
    y, gradients, of_x = trained(ours, x, plain=False)
    expected, wanted, of_x_wanted = trained(theirs, x, plain=True)
    assert torch.equal(y, expected)
    assert len(gradients) == len(wanted) == len(list(ours.parameters()))
    for found, right in zip([*gradients, of_x], [*wanted, of_x_wanted], strict=True):
        assert (found - right).abs().max() <= tolerance * max(float(right.abs().max()), 1e-3)
    for found, right in zip(ours.buffers(), theirs.buffers(), strict=True):
        assert torch.equal(found, right)  # each batch is counted once
    assert all(m.track_running_stats for m in ours.modules() if isinstance(m, nn.BatchNorm2d))


def kept_bytes(one: Reversible, *, plain: bool) -> int:
    """What autograd keeps between the passes, each memory once, without weights."""
    weights = {p.untyped_storage().data_ptr() for p in one.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = plainly(one, image().requires_grad_()) if plain else one(image().requires_grad_())
    return sum(kept.values()) + 0 * len(y)


def test_memory_does_not_grow_with_the_depth() -> None:
    map_bytes = image().nbytes
    for couplings in (1, 4):
        assert kept_bytes(block(couplings), plain=False) == map_bytes
        assert kept_bytes(block(couplings), plain=True) > 8 * couplings * map_bytes


def test_frozen_weights_have_no_gradient_and_others_do() -> None:
    one = block(2)
    one.couplings[0].requires_grad_(False)
    x = image()
    one(x).square().sum().backward()
    assert all(p.grad is None for p in one.couplings[0].parameters())
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in one.couplings[1].parameters())


def test_who_looks_inside_gets_gradients_too() -> None:
    one, mask = block(2), torch.ones((), dtype=torch.float64, requires_grad=True)
    hook = (
        one.couplings[0].get_submodule("first.expand").register_forward_hook(lambda *given: given[2] * mask)
    )
    one(image()).square().sum().backward()
    assert mask.grad is not None
    assert mask.grad != 0
    hook.remove()


def test_in_16_bits_the_sums_stay_in_32() -> None:
    one = block(3, dtype=torch.float32)
    theirs = copy.deepcopy(one)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, gradients, _ = trained(one, image(torch.float32), plain=False)
        _, wanted, _ = trained(theirs, image(torch.float32), plain=True)
    assert y.dtype == torch.float32
    for found, right in zip(gradients, wanted, strict=True):
        assert (found - right).abs().max() <= 0.05 * right.abs().max()


def test_a_supernet_trains_them_on_its_own_weights() -> None:
    stages = [
        ConvStage(
            widths=(16, 32), depths=(1, 2), blocks=("reversible",), options={"reversible": {"kernel": 3}}
        )
    ]
    space = convnet("r", ConvNet(stages=tuple(stages)), classes=3, input_shape=(1, 8, 8))
    assert space.choices[space.column["stage0.reversible.couplings"]].values == (1, 2, 3)
    supernet = Supernet(space)
    images = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for arch in (space.smallest(), space.largest()):
        supernet.zero_grad()
        alone = supernet.extract(arch)
        subnet = supernet.subnet(arch)
        for network in (subnet, alone):
            network(images).square().sum().backward()
        for (name, found), right in zip(subnet.named_parameters(), alone.parameters(), strict=True):
            torch.testing.assert_close(found.grad, right.grad, rtol=1e-3, atol=1e-5, msg=name)
