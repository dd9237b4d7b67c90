"""Every channel mixer, norm, residual form and entry computes its formula and keeps the rules of mixers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from compress.onnx.export import onnx_bytes
from compress.onnx.fuse import fuse
from nas.supernet.prefix import check_part
from search_spaces.blocks import block_names
from search_spaces.channel_mixers import CHANNEL_MIXERS
from search_spaces.choice import Value
from search_spaces.entries import ENTRIES
from search_spaces.norms import NORMS
from search_spaces.operations.operation import Operation
from search_spaces.parts import ConvNorm
from search_spaces.reference.macs import count_macs
from search_spaces.residuals import RESIDUALS
from tests.search_spaces.parts.references import REFERENCES

REGISTRIES = {
    "channel_mixers": CHANNEL_MIXERS,
    "norms": NORMS,
    "residuals": RESIDUALS,
    "entries": ENTRIES,
}
PARTS = [(key, name) for key, registry in REGISTRIES.items() for name in registry]
CHANNELS, INPUTS = 24, 6  # the third hand of eight, or round of sixteen, is cut off
STRIDES = (1, 2, 4)
SIZES = [(5, 7), (1, 3)]

NOT_FOLDED = {
    "moe": "its norms follow weights that each image mixes",
    "ibn": "it stands before convolutions, and half of it has statistics of its own",
}
"""Parts that keep a norm when deployed: why."""


def width_of(name: str) -> int:
    return 32 if name == "sparse_mlp" else CHANNELS


def every_value(key: str, name: str) -> list[dict[str, Value]]:
    one = REGISTRIES[key][name].part
    choices = one.choices if isinstance(one, Operation) else ()
    strides: dict[str, tuple[Value, ...]] = {"stride": STRIDES} if key == "entries" else {}
    whole = {choice.name: choice.values for choice in choices} | strides
    return [dict(zip(whole, values, strict=True)) for values in itertools.product(*whole.values())]


def made(key: str, name: str, values: dict[str, Value]) -> nn.Module:
    """The part, every weight and every statistic of its norms drawn: defaults hide what they multiply."""
    one, width = REGISTRIES[key][name].part, width_of(name)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if key == "channel_mixers":
            module = one(width, ratio=2, activation="relu", **values)
        elif key == "norms":
            module = one(width)
        elif key == "residuals":
            module = one.make(ConvNorm(width, width), width, **values)
        else:
            module = one(INPUTS, width, activation="relu", **values)
        with torch.no_grad():
            for weight in module.parameters():
                weight.copy_(torch.rand(weight.shape) + (-0.4 if weight.ndim > 1 else 0.5))
            for part in module.modules():
                if isinstance(part, _BatchNorm):
                    part.running_mean.copy_(torch.rand(part.num_features) - 0.5)  # type: ignore[union-attr]
                    part.running_var.copy_(torch.rand(part.num_features) + 0.5)  # type: ignore[union-attr]
    return module.eval()


def shape_of(key: str, name: str, size: tuple[int, int]) -> tuple[int, int, int]:
    return (INPUTS if key == "entries" else width_of(name), *size)


def images(shape: tuple[int, ...], *, batch: int = 2) -> Tensor:
    return torch.randn(batch, *shape, generator=torch.Generator().manual_seed(1))


def cases(key: str, name: str) -> Iterator[tuple[dict[str, Value], nn.Module]]:
    for values in every_value(key, name):
        yield values, made(key, name, values)


def test_every_part_has_its_formula_here() -> None:
    assert {key: set(names) for key, names in REFERENCES.items()} == {
        key: set(registry) for key, registry in REGISTRIES.items()
    }


def test_every_name_is_one_part() -> None:
    """Options and layers are told by names alone."""
    names = ["batch", *(name for registry in REGISTRIES.values() for name in registry), *block_names()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("key", "name"), PARTS)
def test_it_computes_its_formula_at_any_size(key: str, name: str) -> None:
    for (values, module), size in itertools.product(cases(key, name), SIZES):
        module.double()
        x = images(shape_of(key, name, size)).double()
        found = module(x)
        stride = int(values.get("stride", 1))
        assert found.shape == (2, width_of(name), *(-(-side // stride) for side in size))
        expected = REFERENCES[key][name](x, module.state_dict(), values)
        torch.testing.assert_close(
            found, expected, atol=1e-9, rtol=1e-9, msg=lambda text, v=values, s=size: f"{v} at {s}: {text}"
        )


@pytest.mark.parametrize(("key", "name"), PARTS)
def test_what_a_channel_does_never_depends_on_the_width(key: str, name: str) -> None:
    assert check_part(key, name) > 0


@pytest.mark.parametrize(("key", "name"), PARTS)
def test_its_norms_fold_away(key: str, name: str) -> None:
    for values, module in cases(key, name):
        module.double()
        folded = fuse(module)
        x = images(shape_of(key, name, SIZES[0])).double()
        torch.testing.assert_close(folded(x), module(x), atol=1e-9, rtol=1e-9)
        left = any(isinstance(part, _BatchNorm) for part in folded.modules())
        assert left == (name in NOT_FOLDED), values


@pytest.mark.parametrize(("key", "name"), PARTS)
def test_all_of_its_weights_are_trained(key: str, name: str) -> None:
    for values, module in cases(key, name):
        module.train()
        module(images(shape_of(key, name, (5, 9)), batch=4)).square().sum().backward()
        still = [key for key, weight in module.named_parameters() if not weight.grad.abs().sum() > 0]
        assert still == [], values


@pytest.mark.parametrize(("key", "name"), PARTS)
def test_its_file_computes_the_same_at_any_batch(key: str, name: str) -> None:
    values = {**every_value(key, name)[-1], **({"stride": 2} if key == "entries" else {})}
    module, shape = made(key, name, values), shape_of(key, name, SIZES[0])
    session = onnxruntime.InferenceSession(onnx_bytes(module, shape), providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        x = images(shape, batch=batch)
        (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        np.testing.assert_allclose(found, module(x).detach().numpy(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("key", "name"), PARTS)
def test_its_multiply_accumulates_are_counted(key: str, name: str) -> None:
    """fvcore, which traces, and torch, which sees what is dispatched, count alike."""
    for values, module in cases(key, name):
        shape = shape_of(key, name, SIZES[0])
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            module(images(shape, batch=1))
        assert count_macs(module, shape) == counter.get_total_flops() // 2, values
