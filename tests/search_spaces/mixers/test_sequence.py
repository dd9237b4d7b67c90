"""What is peculiar to generated kernels and to mixers of sequences: what they fold into, and what they
equal."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from compress.onnx.fuse import fuse
from search_spaces.mixers import mixer
from search_spaces.mixers.generated.flexconv import FlexConv
from search_spaces.mixers.generated.hyperzzw import HyperZzw
from search_spaces.mixers.generated.kernel_conv import trimmed
from search_spaces.mixers.sequence.multires import Tree
from search_spaces.mixers.sequence.orchid import Orchid
from search_spaces.mixers.sequence.spectral import SpectralUnit, spectral_filters
from search_spaces.mixers.sequence.state_space import OscillatingKernel
from search_spaces.reference.macs import count_macs

C = 16
LONG = ("long_conv", "sgconv", "ckconv", "state_space", "stu")
GENERATED = ("flexconv", "smpconv")


def drawn(module: nn.Module, seed: int = 0) -> nn.Module:
    random = torch.Generator().manual_seed(seed)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=random) + (0.5 if tensor.ndim == 1 else -0.4))
    return module.double().eval()


def signal(length: int, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(2, C, 1, length, dtype=torch.float64, generator=random)


def made(name: str, **values: int) -> nn.Module:
    one = mixer(name)
    least = {choice.name: choice.values[0] for choice in one.choices}
    return drawn(one(C, activation="relu", **{**least, **values}))


@pytest.mark.parametrize("name", [*LONG, *GENERATED])
def test_deployed_it_is_plain_convolutions(name: str) -> None:
    module = made(name)
    folded = fuse(module)
    left = [part for part in folded.modules() if next(part.parameters(recurse=False), None) is not None]
    assert all(type(part) is nn.Conv2d for part in left)
    assert len(left) == (2 if name in LONG else 1)
    x = signal(40).reshape(2, C, 5, 8)
    torch.testing.assert_close(folded(x), module(x), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("name", [name for name in (*LONG, *GENERATED) if name != "stu"])
def test_a_smaller_kernel_is_the_middle_of_a_larger(name: str) -> None:
    """But of ``stu``, whose filters are those of the length."""
    size = "reach" if name in LONG else "extent"
    small, large = (made(name, **{size: value}) for value in ((16, 32) if name in LONG else (7, 11)))
    weights = {key: value for key, value in small.state_dict().items() if value.ndim}
    with torch.no_grad():
        for key, value in large.state_dict().items():
            if key in weights and value.shape == weights[key].shape:
                value.copy_(weights[key])
            elif key in weights:  # a kernel as it is: its middle
                rim = (value.shape[1] - weights[key].shape[1]) // 2
                value[:, rim : value.shape[1] - rim] = weights[key]
    kernels = [
        next(part for part in module.modules() if getattr(type(part), "of_weights", False))()
        for module in (small, large)
    ]
    rims = [(big - little) // 2 for big, little in zip(kernels[1].shape, kernels[0].shape, strict=True)]
    down, right = rims[2], rims[3]
    height, width = kernels[1].shape[2:]
    middle = kernels[1][:, :, down : height - down, right : width - right]
    torch.testing.assert_close(kernels[0], middle, atol=1e-12, rtol=1e-12)


def test_a_state_space_is_its_recurrence() -> None:
    """s' = e^(dt A) s + (e^(dt A) - 1) / A x, y = 2 Re C s, forwards and backwards, step by step."""
    kernel = drawn(OscillatingKernel(C, 4, 16))
    pole = torch.complex(-kernel.log_damping.exp(), kernel.frequency)
    grown = (kernel.log_step.exp()[:, None] * pole).exp()
    x = signal(17)
    expected = kernel.direct[:, None, None] * x
    for way, order in enumerate((range(17), range(16, -1, -1))):
        state = torch.zeros(2, C, 4, dtype=torch.complex128)
        weight = torch.complex(kernel.real[way], kernel.imaginary[way])
        for t in order:
            if way == 1:  # of the later ones, the position itself is none
                expected[:, :, 0, t] += 2 * (weight * grown * state).sum(-1).real
            state = grown * state + (grown - 1) / pole * x[:, :, 0, t, None]
            if way == 0:
                expected[:, :, 0, t] += 2 * (weight * state).sum(-1).real
    found = nn.functional.conv2d(x, kernel(), padding=(0, 16), groups=C)
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)


def test_a_tree_of_scales_is_one_convolution_of_what_lies_before() -> None:
    tree = drawn(Tree(C, 4, 2))
    impulse = torch.zeros(1, C, 1, 40, dtype=torch.float64)
    impulse[..., 10] = 1
    answer = tree(impulse)[0, :, 0]  # (C, 40)
    assert (answer[:, :10] == 0).all()
    assert (answer[:, 26:] == 0).all(), "it reaches 15 positions"
    assert (answer[:, 10:26] != 0).all()
    x = signal(40)
    kernel = answer[:, None, None, 10:26].flip(-1)
    plain = nn.functional.conv2d(nn.functional.pad(x, (15, 0)), kernel, groups=C)
    torch.testing.assert_close(tree(x), plain, atol=1e-9, rtol=1e-9)


def test_orchids_kernel_stays_where_the_sequence_moves() -> None:
    """Shifted, but for the ends of its short convolution, the sequence gives the same kernel."""
    module = drawn(Orchid(C, kernel=1))
    x = signal(12)
    for steps in (1, 5):
        moved = module(torch.roll(x, steps, dims=3))
        torch.testing.assert_close(moved, torch.roll(module(x), steps, dims=3), atol=1e-9, rtol=1e-9)
    assert not torch.allclose(module(2 * x), 2 * module(x))


def test_a_narrow_gaussian_is_deployed_as_a_small_kernel() -> None:
    """2.1 widths to each side: what is below a tenth is nothing, in training too."""
    module = drawn(FlexConv(C, activation="relu", extent=15))
    x = signal(99).reshape(2, C, 9, 11)
    for down, right, size in ((1.0, 1.0, (5, 5)), (0.4, 3.0, (1, 13)), (9.0, 9.0, (15, 15))):
        with torch.no_grad():
            module.conv.kernel.log_widths.copy_(torch.tensor([down, right]).log())
        folded = fuse(module)
        assert folded.conv.kernel_size == size
        torch.testing.assert_close(folded(x), module(x), atol=1e-10, rtol=1e-10)


def test_what_is_deployed_of_an_empty_kernel_is_its_middle() -> None:
    kernel = torch.zeros(3, 1, 5, 7)
    assert trimmed(kernel).shape == (3, 1, 1, 1)
    kernel[1, 0, 0, 3] = 1
    assert trimmed(kernel).shape == (3, 1, 5, 1)


def test_filters_are_orthogonal_and_the_strongest_first() -> None:
    filters = torch.from_numpy(spectral_filters(6, 33))
    products = filters @ filters.T
    torch.testing.assert_close(products, products.diagonal().diag(), atol=1e-9, rtol=0)
    assert (products.diagonal().diff() < 0).all()
    assert (torch.from_numpy(spectral_filters(17, 17))[14:] == 0).all(), "rounding is no filter"


def test_more_filters_than_positions_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match="9 filters of 5 positions; give at most 5 filters, or a reach of 8"):
        SpectralUnit(C, activation="relu", filters=9, reach=4)


def test_a_reach_beyond_the_map_is_the_map() -> None:
    """So long kernels on short sequences are known as equal, and cost what they come to."""
    one = mixer("ckconv")
    assert one.values_at({"reach": 64}, (C, 1, 20)) == {"reach": 19}
    assert one.values_at({"reach": 16}, (C, 4, 5)) == {"reach": 16}
    assert mixer("flexconv").values_at({"extent": 15}, (C, 4, 5)) == {"extent": 9}


def test_the_products_of_hyperzzw_are_counted_and_its_kernel_is_not() -> None:
    height, width = 5, 7
    half = width // 2 + 1
    along = 2 * C * height * width * half  # cosines and sines, or back
    down = 4 * C * height * height * half
    by_hand = 2 * (along + down) + (down + along) + C * C * height * width
    assert count_macs(HyperZzw(C), (C, height, width)) == by_hand


def test_deployed_work_is_counted() -> None:
    """A long convolution of 33 positions and a 1x1 one, whatever makes the kernel."""
    for name in LONG:
        assert count_macs(made(name).float(), (C, 1, 64)) == (33 * C + C * C) * 64
