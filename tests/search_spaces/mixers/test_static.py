"""Settings of the static mixers, what is frozen, and what they cost, by the formulas of their papers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from compress.onnx.fuse import fuse
from nas.supernet.supernet import Supernet
from search_spaces.mixers import mixer
from search_spaces.mixers.static import Factorized, InceptionDepthwise, LargeKernel, RandomConv
from search_spaces.mixers.static.large_kernel import BRANCHES
from search_spaces.parts import ACTIVATIONS, StarReLU
from search_spaces.reference.macs import count_macs
from search_spaces.spaces.metaformer import Stage, metaformer
from tests.search_spaces.mixers.references.basis import conv_norm, relu
from tests.search_spaces.mixers.test_every_mixer import images, made

HEIGHT, WIDTH, C = 6, 8, 16
N = HEIGHT * WIDTH


@pytest.mark.parametrize("large", [3, 5, 7, 9, 11, 13, 15, 17, 21])
def test_the_branches_of_any_large_kernel_fold_into_it(large: int) -> None:
    one = mixer("large_kernel").configured({"large": [large]})
    module = made(one, {"large": large}).double()
    folded = fuse(module)
    assert [type(part) for part in folded.modules() if not list(part.children())] == [nn.Conv2d]
    x = images(C, (HEIGHT, WIDTH)).double()
    torch.testing.assert_close(folded(x), module(x), atol=1e-9, rtol=1e-9)
    assert all((size - 1) * dilation < large for size, dilation in BRANCHES.get(large, ()))


def test_a_large_kernel_alone_has_no_branches() -> None:
    module = LargeKernel(C, large=9, dilated=False)
    assert sum(isinstance(part, nn.Conv2d) for part in module.modules()) == 1


def test_a_dense_column_and_row_are_the_pair_of_inception() -> None:
    module = made(mixer("factorized"), {"kernel": 5, "dense": True}).double()
    assert isinstance(module, Factorized)
    x = images(C, (5, 7)).double()
    weights = module.state_dict()
    expected = conv_norm(relu(conv_norm(x, weights, "column")), weights, "row")
    torch.testing.assert_close(module(x), expected, atol=1e-9, rtol=1e-9)
    assert count_macs(module.float(), (C, HEIGHT, WIDTH)) == 2 * 5 * C * C * N


def test_filters_that_were_drawn_stay_as_they_are_in_a_supernet() -> None:
    stage = Stage(widths=(8, 16), depths=(1,), mixers=("random_conv",), ratios=(1,))
    space = metaformer("drawn", [stage], classes=2, input_shape=(3, 8, 8))
    supernet = Supernet(space)
    subnet = supernet.subnet(space.largest())
    (module,) = [part for part in subnet.modules() if isinstance(part, RandomConv)]
    assert not module.depthwise.conv.weight.requires_grad
    assert module.project.conv.weight.requires_grad
    frozen = [entry.name for entry in supernet.index.values() if not entry.trainable]
    assert frozen == ["stage0_block0_random_conv.inner.depthwise.conv.weight"]


def test_a_star_keeps_a_normal_input_normal() -> None:
    assert ACTIVATIONS["starrelu"] is StarReLU
    x = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    y = StarReLU()(x)
    assert abs(float(y.mean())) < 0.01
    assert abs(float(y.var()) - 1) < 0.05
    torch.testing.assert_close(StarReLU()(torch.tensor([-3.0, 2.0])), torch.tensor([-0.4472, 3.1304]))


MACS = {
    "inception_dw": ({"band": 11, "taken": 1}, (9 + 11 + 11) * C // 8 * N),
    "large_kernel": ({"large": 13}, 169 * C * N),
    "sepconv": ({"kernel": 7}, 4 * C * C * N + 2 * C * 49 * N),
    "shift": ({"directions": 8}, 9 * C * N),
    "mix_shift": ({"distance": 2}, 2 * (1 + 2 * 1 + 2 * 9 + 2 * 25 + 49) * C // 8 * N),
    "recconv": ({"levels": 1, "kernel": 5}, 25 * C * (N + 2 * N // 4)),
    "gnconv": (
        {"order": 2, "kernel": 7},
        (C * C // 2 + (C * C + C * C // 2) + C // 2 * C + C * C) * N + 49 * 3 * C // 2 * N,
    ),
    "grouped_conv": ({"group_width": 8, "kernel": 3}, 9 * 8 * C * N),
    "density_conv": ({"density": 0.5, "kernel": 5}, 25 * C * N),
    "random_conv": ({"kernel": 3}, 9 * C * N + C * C * N),
    "factorized": ({"kernel": 7}, 14 * C * N + C * C * N),
    "spatial_bottleneck": ({"shrink": 2, "kernel": 3}, (9 * C + C * C) * N // 4 + C * N),
    "selective": ({"branches": 2}, 2 * 9 * C * N + 3 * 8 * C),
    "omni_scale": ({"streams": 3}, 2 * C * C // 4 * N + 6 * (16 + 36) * N + 3 * 2 * 4 * 4),
}


@pytest.mark.parametrize("name", MACS)
def test_multiply_accumulates_are_those_of_the_formula(name: str) -> None:
    values, expected = MACS[name]
    assert count_macs(made(mixer(name), values), (C, HEIGHT, WIDTH)) == expected


def test_recursion_costs_less_than_five_thirds_of_one_kernel() -> None:
    """The bound of the paper, section 3.2; and levels + 2 kernels."""
    for levels in (1, 2, 3):
        module = made(mixer("recconv"), {"levels": levels, "kernel": 5})
        assert count_macs(module, (C, 32, 32)) < 5 / 3 * 25 * C * 32 * 32
        kernels = sum(
            math.prod(part.weight.shape) for part in module.modules() if isinstance(part, nn.Conv2d)
        )
        assert kernels == (levels + 2) * 25 * C


def test_channels_without_a_kernel_pass_unchanged() -> None:
    module = InceptionDepthwise(C, band=7, taken=1)
    x = images(C, (5, 7))
    rest = [channel for channel in range(C) if channel % 8 > 2]
    assert torch.equal(module(x)[:, rest], x[:, rest])
