"""What is peculiar to mixers with dynamic kernels: their counts, what they come to, what they refuse."""

from __future__ import annotations

import onnx
import pytest
import torch
from torch import nn
from torch.nn import functional

from compress.onnx.export import onnx_bytes
from compress.pruning.prune import prune
from search_spaces.mixers import mixer
from search_spaces.mixers.dynamic.condconv import CondConv
from search_spaces.mixers.dynamic.deformable import Deformable
from search_spaces.mixers.dynamic.experts import ExpertConv
from search_spaces.mixers.dynamic.fdconv import FrequencyDynamic
from search_spaces.mixers.dynamic.tvconv import TranslationVariant
from search_spaces.mixers.dynamic.windowed import windowed
from search_spaces.mixers.registry import option_problems
from search_spaces.parts import ConvNorm, Head
from search_spaces.reference.macs import count_macs

C, H, W = 16, 5, 7
POSITIONS = H * W


def drawn(module: nn.Module) -> nn.Module:
    random = torch.Generator().manual_seed(0)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=random) + (0.5 if tensor.ndim == 1 else -0.4))
    return module.eval()


def by_hand(name: str) -> int:
    """Multiply-accumulates at the least values, from the formulas."""
    hidden, half = C // 4, C // 2
    taps = 9 * C * POSITIONS  # of a window of 3x3
    if name == "condconv":
        return taps + C * 2 + 2 * 9 * C
    if name == "fdconv":
        return taps + C * 2 + 2 * 9 * C
    if name == "tvconv":
        return taps
    if name == "involution":
        return taps + C * hidden * POSITIONS + hidden * 9 * (C // 8) * POSITIONS
    if name == "lsconv":
        looking = (C * half + 25 * half + half * half) * POSITIONS
        return taps + looking + half * 9 * (C // 8) * POSITIONS
    if name == "contmix":
        pooling = C * 7 * H * W + C * 7 * 7 * W
        making = C * half * (POSITIONS + 49) + half * 49 * POSITIONS + (9 + 25) * 49 * POSITIONS * (C // 16)
        return pooling + making + (9 + 25) * half * POSITIONS + C * C * POSITIONS
    assert name == "dcnv4"
    making = 9 * C * POSITIONS + C * 9 * 3 * (C // 8) * POSITIONS
    sampling = 9 * 4 * C * POSITIONS
    return taps + 2 * C * C * POSITIONS + making + sampling


@pytest.mark.parametrize("name", ["condconv", "fdconv", "tvconv", "involution", "lsconv", "contmix", "dcnv4"])
def test_its_multiply_accumulates_are_those_of_the_formula(name: str) -> None:
    one = mixer(name)
    module = one(C, activation="relu", **{choice.name: choice.values[0] for choice in one.choices})
    assert count_macs(module, (C, H, W)) == by_hand(name)


def test_a_mixed_convolution_of_one_image_is_a_plain_one() -> None:
    """The kernel that an image's routing comes to, in torch's own convolution."""
    for depthwise, kernel, stride in ((True, 5, 2), (True, 3, 1), (False, 1, 2)):
        module = drawn(ExpertConv(C, C, kernel, stride=stride, depthwise=depthwise, experts=4)).double()
        x = torch.randn(3, C, H, W, dtype=torch.float64)
        mixed, kernels = module(x), module.kernels(x)
        assert not torch.allclose(kernels[0], kernels[1])
        for i in range(len(x)):
            weight = kernels[i].reshape(module.weight.shape[1:])
            settled = {"stride": stride, "padding": kernel // 2, "groups": C if depthwise else 1}
            plain = functional.conv2d(x[i : i + 1], weight, **settled)
            torch.testing.assert_close(mixed[i : i + 1], plain, atol=1e-10, rtol=1e-10)


def test_experts_are_not_pruned_and_that_is_said() -> None:
    """Everything that they mix hangs together with their number, farther than torch-pruning is let go."""
    network = nn.Sequential(
        ConvNorm(1, C, activation="relu"), CondConv(C, activation="relu", kernel=3, experts=2), Head(C, 3)
    )
    pruned = prune(network.eval(), torch.randn(1, 1, H, W), keep=0.5)
    (reason,) = [one.reason for one in pruned.refused if one.root == "1.conv.route"]
    assert "move the channels on each time" in reason
    assert pruned.cuts == ()
    images = torch.randn(2, 1, H, W)
    torch.testing.assert_close(pruned.network(images), network(images))


def test_mixed_kernels_larger_than_one_pixel_are_depthwise() -> None:
    with pytest.raises(ValueError, match="a mixed kernel of side 3 has to be depthwise"):
        ExpertConv(C, C, 3, stride=1, depthwise=False, experts=2)


def test_experts_multiply_the_parameters_and_hardly_the_work() -> None:
    few, many = (CondConv(64, activation="relu", kernel=3, experts=count) for count in (2, 8))
    weights = [sum(one.numel() for one in module.parameters()) for module in (few, many)]
    macs = [count_macs(module, (64, 16, 16)) for module in (few, many)]
    assert weights[1] > 3 * weights[0]
    assert macs[1] < 1.05 * macs[0]


def test_frequencies_weighed_alike_are_the_kernel_itself() -> None:
    """Its parameters are those of one kernel, whatever the number of bands; they add up to it."""
    for kernel, bands in ((3, 2), (3, 4), (7, 4), (1, 2), (5, 1)):
        module = FrequencyDynamic(C, activation="relu", kernel=kernel, kernel_bands=bands).double()
        parts = module.parts().reshape(bands, C, kernel, kernel)
        torch.testing.assert_close(parts.sum(0), module.parts.weight, atol=1e-12, rtol=1e-12)
        assert module.parts.weight.numel() == C * kernel**2
        spectra = torch.fft.fft2(parts).abs().amax(dim=1)  # (bands, kernel, kernel)
        assert ((spectra > 1e-9).sum(dim=0) == 1).all(), "a frequency lies in one band"


def test_a_file_holds_the_kernels_of_all_positions() -> None:
    module = drawn(TranslationVariant(C, activation="relu", kernel=3))
    model = onnx.load_from_string(onnx_bytes(module, (C, H, W)))
    assert "Conv" not in {node.op_type for node in model.graph.node}
    assert sum(len(one.raw_data) for one in model.graph.initializer) >= 4 * 9 * C * POSITIONS


def test_offsets_can_be_limited() -> None:
    """Within the limit nothing changes; beyond it, points stay at the limit."""
    x = torch.randn(2, C, H, W)
    free, limited = (drawn(Deformable(C, points=3, farthest=limit)) for limit in (0.0, 2.0))
    assert not torch.allclose(free(x), limited(x))
    for module in (free, limited):
        module.offsets.weight.data.mul_(1e-3)
        module.offsets.bias.data.fill_(0.3)
    torch.testing.assert_close(free(x), limited(x))


def test_offsets_begin_at_the_grid() -> None:
    """A fresh one is a convolution over a square of points; its first steps can move them all the same."""
    module = Deformable(C, points=3)
    x = torch.randn(2, C, H, W)
    value = module.value(x)
    weights = module.weights(module.look(x)).flatten(2, 3)
    project = module.project(windowed(value, weights, 3, 8))
    torch.testing.assert_close(module(x), project, atol=1e-5, rtol=1e-5)
    module(x).square().sum().backward()
    assert module.offsets.weight.grad is not None
    assert module.offsets.weight.grad.abs().sum() > 0


def test_windows_go_in_steps_as_convolutions_do() -> None:
    x = torch.randn(2, C, 6, 7)
    weight = torch.randn(C, 1, 3, 3)
    for stride in (1, 2, 3):
        found = windowed(x, weight.reshape(1, C, 9, 1, 1), 3, 1, stride=stride)
        plain = functional.conv2d(x, weight, padding=1, stride=stride, groups=C)
        torch.testing.assert_close(found, plain, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("involution", {"kernel": 3}, "involution needs a width that is a multiple of 8, got 12"),
        ("lsconv", {"see": 5, "focus": 3}, "lsconv needs a width that is a multiple of 8, got 12"),
        ("dcnv4", {"points": 3}, "dcnv4 needs a width that is a multiple of 8, got 12"),
        ("contmix", {"wide": 5}, "contmix needs a width that is a multiple of 16, got 12"),
    ],
)
def test_widths_it_cannot_take_are_refused_in_words(name: str, values: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mixer(name)(12, activation="relu", **values)
    with pytest.raises(ValueError, match="needs widths that are multiples of"):
        mixer(name).refuse_widths((12,))


def test_a_pair_that_cannot_be_halved_twice_is_refused_before_anything_is_built() -> None:
    """A pair is two heads, and queries have half of a head's channels."""
    (problem,) = option_problems({"contmix": {"pair_channels": 6}}, ["contmix"])
    assert problem.startswith("contmix.pair_channels")
    assert "multiple of 4" in problem
