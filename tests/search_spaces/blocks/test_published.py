"""Published blocks of several parts compute their formulas; they are counted and exported.

What all blocks have to keep to, ``test_blocks.py`` asks of them too.
"""

from __future__ import annotations

import itertools

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from compress.onnx.export import onnx_bytes
from compress.onnx.fuse import fuse
from search_spaces.blocks import Block, block
from search_spaces.blocks.aggregate import Aggregate
from search_spaces.blocks.dense import linked
from search_spaces.choice import Value
from search_spaces.reference.macs import count_macs
from tests.search_spaces.blocks.published_references import PUBLISHED
from tests.search_spaces.blocks.references import conv_norm, drawn, relu, squeeze_excitation, under
from tests.search_spaces.blocks.test_blocks import every_value, made, shapes_of
from tests.search_spaces.mixers.references import REFERENCES as MIXERS


def some_values(one: Block) -> list[dict[str, Value]]:
    """Every value of every choice at least once, and all with the gate."""
    whole = list(every_value(one))
    seen: set[tuple[str, Value]] = set()
    found = []
    for values in (whole[-1], *whole):
        if not set(values.items()) <= seen:
            seen |= set(values.items())
            found.append(values)
    return found


def wide(name: str) -> list[tuple[int, int, int, tuple[int, int]]]:
    """Shapes for a block; for Next-ViT's one with all kinds of heads, and one cut off in a round."""
    if name == "ntb":
        return [(16, 16, 1, (3, 5)), (64, 64, 1, (3, 5)), (32, 96, 2, (2, 3))]
    return shapes_of(block(name))


@pytest.mark.parametrize("name", PUBLISHED)
def test_it_computes_its_formula(name: str) -> None:
    one = block(name)
    random = torch.Generator().manual_seed(1)
    for values, (inputs, outputs, stride, size) in itertools.product(some_values(one), wide(name)):
        module = drawn(made(one, inputs, outputs, stride, values))
        x = torch.randn(2, inputs, *size, generator=random, dtype=torch.float64)
        expected = PUBLISHED[name](x, module.state_dict(), stride, values)
        assert expected.shape == (2, outputs, *(-(-side // stride) for side in size))
        torch.testing.assert_close(module(x), expected, atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("name", PUBLISHED)
def test_its_file_computes_the_same_at_any_batch(name: str) -> None:
    one = block(name)
    values = list(every_value(one))[-1]
    inputs, outputs, stride, size = shapes_of(one)[0 if one.entered else 1]
    module = made(one, inputs, outputs, stride, values).eval()
    content = onnx_bytes(module, (inputs, *size))
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        x = torch.randn(batch, inputs, *size, generator=torch.Generator().manual_seed(4))
        (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        np.testing.assert_allclose(found, module(x).detach().numpy(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", PUBLISHED)
def test_its_multiply_accumulates_are_counted(name: str) -> None:
    """fvcore, which traces, and torch, which sees what is dispatched, count alike."""
    one = block(name)
    for values, (inputs, outputs, stride, size) in itertools.product(some_values(one), shapes_of(one)):
        module = made(one, inputs, outputs, stride, values).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            module(torch.zeros(1, inputs, *size))
        assert count_macs(module, (inputs, *size)) == counter.get_total_flops() // 2, values


@pytest.mark.parametrize("name", ["moat", "maxvit", "ntb"])
def test_what_stands_for_a_value_computes_the_same(name: str) -> None:
    one = block(name)
    for values in every_value(one):
        standing = one.values_at(values, (16, 6, 6))
        assert one.values_at(standing, (16, 6, 6)) == standing
        x = torch.randn(2, 16, 6, 6, generator=torch.Generator().manual_seed(0))
        modules = [made(one, 16, 16, 1, some).eval() for some in (values, standing)]
        torch.testing.assert_close(modules[0](x), modules[1](x))
    assert one.values_at({"window": 8} if "window" in values else {"reduction": 4}, (16, 2, 2)) in (
        {"window": 2},
        {"reduction": 2},
    )


def test_unireplknet_is_a_convnext_with_dilated_kernels_and_a_gate() -> None:
    values: dict[str, Value] = {"kernel": 7, "ratio": 2, "dilated": True, "gate": "se"}
    module = drawn(made(block("convnext"), 16, 16, 1, values))
    weights = under(module.state_dict(), "inner")
    x = torch.randn(2, 16, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = MIXERS["large_kernel"](x, under(weights, "depthwise"), {"large": 7})
    y = squeeze_excitation(y, under(weights, "se"))
    y = conv_norm(relu(conv_norm(y, weights, "mlp.expand")), weights, "mlp.project")
    torch.testing.assert_close(module(x), x + y)
    torch.testing.assert_close(fuse(module)(x), x + y)


@pytest.mark.parametrize("name", ["osa", "dense", "inception_resnet"])
def test_what_is_aggregated_folds_to_a_concatenation_and_one_convolution(name: str) -> None:
    one = block(name)
    module = drawn(made(one, 16, 16, 1, next(every_value(one))))
    aggregates = [part for part in module.modules() if isinstance(part, Aggregate)]
    folded = fuse(module)
    assert not any(isinstance(part, Aggregate) for part in folded.modules())
    convs = sum(isinstance(part, nn.Conv2d) for part in module.modules())
    fewer = sum(len(part.sources) - 1 for part in aggregates)
    assert sum(isinstance(part, nn.Conv2d) for part in folded.modules()) == convs - fewer


def test_sparse_links_are_at_distances_of_powers_of_two() -> None:
    assert linked(6, "all") == [5, 4, 3, 2, 1, 0]
    assert [linked(place, "log2") for place in (1, 4, 9)] == [[0], [3, 2, 0], [8, 7, 5, 1]]
