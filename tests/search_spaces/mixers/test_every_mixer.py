"""Every mixer computes its formula, keeps shapes and the prefix rule; it folds, trains, is counted, exported.

A mixer's formula is in ``references/``. What holds for all but a few has those few by name
here, each with its reason.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from compress.onnx.export import onnx_bytes
from compress.onnx.fuse import fuse
from nas.supernet.prefix import check_mixer
from search_spaces.choice import Value
from search_spaces.mixers import MIXERS, Mixer, mixer
from search_spaces.mixers.registry import choices_of
from search_spaces.reference.macs import count_macs
from tests.search_spaces.mixers.references import REFERENCES

NAMES = [name for name in MIXERS if name != "identity"]
SIZES = [(5, 7), (1, 3), (4, 4)]

NOT_FOLDED: dict[str, str] = {
    "involution": "the weights before it are those of a position, and shared by channels",
    "lsconv": "the weights before it are those of a position, and shared by channels",
}
"""Mixers that keep a norm when deployed: why."""

_WINDOWED = "sums over windows, element by element, which torch does not count; test_dynamic.py does"
NOT_COUNTED: dict[str, str] = {
    **dict.fromkeys(("condconv", "fdconv", "involution", "lsconv", "contmix", "tvconv"), _WINDOWED),
    **dict.fromkeys(("neighbourhood", "span_attention"), _WINDOWED),
    "dcnv4": "samples between pixels, which torch does not count; test_dynamic.py does",
    "hyperzzw": "torch counts what makes its kernel; test_sequence.py counts the rest",
}
"""Mixers whose multiply-accumulates fvcore or torch cannot see: which, and why."""

LARGEST = {
    "attention": 16.0,
    "multi_head": 64.0,  # of its own heads, not of the width: four where the width is that of one
    "conv_attention": 16.0,
    "factorized_attention": 16.0,
    "fused_tokens": 9.0,
    "head_tokens": 16.25,
    "selective_scan": 16.0,
    "span_attention": 16.0,
    "cswin": 16.0,
    "pooled_attention": 16.0,
    "random_mixing": 16.0,
    "strip_attention": 16.0,
    "tvconv": 49.0,
    "orchid": 9.0,
}
"""Most elements of a tensor inside over those of the input, at 16 channels on 16x16; all others keep to 8."""


def width_of(one: Mixer) -> int:
    """The least width of 16 or more that it takes."""
    return one.multiple * -(-16 // one.multiple)


def every_value(one: Mixer) -> list[dict[str, Value]]:
    """All the least values, each choice moved alone to each of its others, and all the largest."""
    least = {choice.name: choice.values[0] for choice in one.choices}
    moved = [{**least, choice.name: value} for choice in one.choices for value in choice.values[1:]]
    most = {choice.name: choice.values[-1] for choice in one.choices}
    return [least, *moved, *([most] if len(one.choices) > 1 else [])]


def made(one: Mixer, values: dict[str, Value], *, channels: int | None = None) -> nn.Module:
    """The mixer, every weight and every statistic of its norms drawn: defaults hide what they multiply."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = one(channels or width_of(one), activation="relu", **values)
        with torch.no_grad():
            for weight in module.parameters():
                weight.copy_(torch.rand(weight.shape) + (-0.4 if weight.ndim > 1 else 0.5))
            for part in module.modules():
                if isinstance(part, _BatchNorm):
                    part.running_mean.copy_(torch.rand(part.num_features) - 0.5)  # type: ignore[union-attr]
                    part.running_var.copy_(torch.rand(part.num_features) + 0.5)  # type: ignore[union-attr]
    return module.eval()


def images(channels: int, size: tuple[int, int], *, batch: int = 2, seed: int = 1) -> Tensor:
    return torch.randn(batch, channels, *size, generator=torch.Generator().manual_seed(seed))


def cases(one: Mixer) -> Iterator[tuple[dict[str, Value], tuple[int, int]]]:
    return itertools.product(every_value(one), SIZES)


def test_every_mixer_has_its_formula_here() -> None:
    assert set(REFERENCES) == set(NAMES)


def test_any_mixers_can_stand_in_one_block() -> None:
    """A choice of a name means the same in all of them: those of one block share it."""
    assert choices_of([mixer(name) for name in MIXERS])


@pytest.mark.parametrize("name", NAMES)
def test_it_computes_its_formula_at_any_size(name: str) -> None:
    one = mixer(name)
    for values, size in cases(one):
        module = made(one, values).double()
        x = images(width_of(one), size).double()
        found = module(x)
        assert found.shape == x.shape
        expected = REFERENCES[name](x, module.state_dict(), values)
        torch.testing.assert_close(
            found, expected, atol=1e-9, rtol=1e-9, msg=lambda text, v=values, s=size: f"{v} at {s}: {text}"
        )


@pytest.mark.parametrize("name", MIXERS)
def test_what_a_channel_does_never_depends_on_the_width(name: str) -> None:
    assert check_mixer(name) > 0


@pytest.mark.parametrize("name", NAMES)
def test_what_stands_for_a_value_computes_the_same(name: str) -> None:
    """Where ``acting`` says that two values are one on a map, they are; what stands, stands for itself."""
    one = mixer(name)
    for values, size in cases(one):
        channels = width_of(one)
        standing = one.values_at(values, (channels, *size))
        assert one.values_at(standing, (channels, *size)) == standing
        if standing != values:
            x = images(channels, size)
            whole, other = made(one, values), made(one, standing)
            for large, small in zip(whole.state_dict().values(), other.state_dict().values(), strict=True):
                small.copy_(large[tuple(slice(size) for size in small.shape)])
            torch.testing.assert_close(whole(x), other(x))


@pytest.mark.parametrize("name", NAMES)
def test_its_norms_fold_away(name: str) -> None:
    one = mixer(name)
    for values in every_value(one):
        module = made(one, values).double()
        folded = fuse(module)
        x = images(width_of(one), SIZES[0]).double()
        torch.testing.assert_close(folded(x), module(x), atol=1e-9, rtol=1e-9)
        left = any(isinstance(part, _BatchNorm) for part in folded.modules())
        assert left == (name in NOT_FOLDED)


@pytest.mark.parametrize("name", NAMES)
def test_all_of_its_weights_are_trained(name: str) -> None:
    one = mixer(name)
    for values in every_value(one):
        module = made(one, values).train()
        x = images(width_of(one), SIZES[0], batch=4).requires_grad_()
        module(x).square().sum().backward()
        assert x.grad is not None
        assert x.grad.abs().sum() > 0
        trained = [(key, weight) for key, weight in module.named_parameters() if weight.requires_grad]
        still = [key for key, weight in trained if weight.grad is None or not weight.grad.abs().sum() > 0]
        assert still == [], values


@pytest.mark.parametrize("name", NAMES)
def test_its_file_computes_the_same_at_any_batch(name: str) -> None:
    one = mixer(name)
    module = made(one, every_value(one)[-1])
    channels = width_of(one)
    content = onnx_bytes(module, (channels, *SIZES[0]))
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        x = images(channels, SIZES[0], batch=batch)
        (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        np.testing.assert_allclose(found, module(x).detach().numpy(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in NOT_COUNTED])
def test_its_multiply_accumulates_are_counted(name: str) -> None:
    """fvcore, which traces, and torch, which sees what is dispatched, count alike: of what is deployed."""
    one = mixer(name)
    for values in every_value(one):
        module, channels = made(one, values), width_of(one)
        deployed = fuse(module)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            deployed(images(channels, SIZES[0], batch=1))
        assert count_macs(module, (channels, *SIZES[0])) == counter.get_total_flops() // 2, values


class Peak(TorchDispatchMode):
    """Notes the most elements of a tensor that is made meanwhile."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        for one in result if isinstance(result, tuple | list) else (result,):
            if isinstance(one, Tensor):
                self.elements = max(self.elements, one.untyped_storage().nbytes() // one.element_size())
        return result


@pytest.mark.parametrize("name", NAMES)
def test_no_tensor_inside_is_many_times_the_input(name: str) -> None:
    one = mixer(name)
    x = images(width_of(one), (16, 16), batch=1)
    for values in every_value(one):
        module = made(one, values)
        with Peak() as peak, torch.no_grad():
            module(x)
        assert peak.elements <= LARGEST.get(name, 8.0) * x.numel(), values
