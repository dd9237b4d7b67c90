"""Every block computes its formula, at odd sizes too; it folds, is counted, exported and trained."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from compress.onnx.export import onnx_bytes
from compress.onnx.fuse import fuse
from nas.supernet.prefix import check_block
from search_spaces.blocks import BLOCKS, Block, block, register_block
from search_spaces.choice import Choice, Value
from search_spaces.reference.macs import count_macs
from tests.search_spaces.blocks.published_references import PUBLISHED
from tests.search_spaces.blocks.references import REFERENCES, drawn

SHAPES = [(16, 16, 1, (6, 6)), (16, 32, 2, (7, 5)), (24, 16, 1, (3, 1)), (16, 16, 2, (1, 2))]


def whole(name: str) -> Block:
    """The block, its groups of two widths."""
    return block(name).configured({"group_width": [8, 16]} if name == "grouped" else {})


def every_value(one: Block) -> Iterator[dict[str, Value]]:
    names = [choice.name for choice in one.choices]
    for values in itertools.product(*(choice.values for choice in one.choices)):
        yield dict(zip(names, values, strict=True))


def made(one: Block, inputs: int, outputs: int, stride: int, values: dict[str, Value]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return one(inputs, outputs, stride=stride, activation="relu", **values)


def shapes_of(one: Block) -> list[tuple[int, int, int, tuple[int, int]]]:
    return [shape for shape in SHAPES if not one.entered or (shape[0] == shape[1] and shape[2] == 1)]


@pytest.mark.parametrize("name", REFERENCES)
def test_it_computes_its_formula(name: str) -> None:
    one = whole(name)
    random = torch.Generator().manual_seed(1)
    for values, (inputs, outputs, stride, size) in itertools.product(every_value(one), shapes_of(one)):
        module = drawn(made(one, inputs, outputs, stride, values))
        x = torch.randn(2, inputs, *size, generator=random, dtype=torch.float64)
        expected = REFERENCES[name](x, module.state_dict(), stride)
        assert expected.shape == (2, outputs, *(-(-side // stride) for side in size))
        torch.testing.assert_close(module(x), expected, atol=1e-9, rtol=1e-9)


def test_every_block_has_its_formula_here() -> None:
    assert set(BLOCKS) <= {*REFERENCES, *PUBLISHED}


@pytest.mark.parametrize("name", [*BLOCKS, "attention"])
def test_what_a_channel_does_never_depends_on_the_width(name: str) -> None:
    assert check_block(name) > 0


@pytest.mark.parametrize("name", BLOCKS)
def test_its_norms_fold_into_the_convolutions(name: str) -> None:
    one = whole(name)
    for values, (inputs, outputs, stride, size) in itertools.product(every_value(one), shapes_of(one)[:2]):
        module = drawn(made(one, inputs, outputs, stride, values))
        x = torch.randn(1, inputs, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
        folded = fuse(module)
        assert not any(isinstance(part, nn.BatchNorm2d) for part in folded.modules())
        torch.testing.assert_close(folded(x), module(x), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("name", BLOCKS)
def test_all_of_its_weights_are_trained(name: str) -> None:
    one = whole(name)
    for values in every_value(one):
        inputs, outputs, stride, size = shapes_of(one)[-1 if one.entered else 1]
        module = made(one, inputs, outputs, stride, values).train()
        # Halved and reduced by four there are keys to choose between: of one alone no query learns.
        size = tuple(2 * side for side in size)
        x = torch.randn(4, inputs, *size, generator=torch.Generator().manual_seed(3))
        module(x).square().sum().backward()
        still = [key for key, weight in module.named_parameters() if not weight.grad.abs().sum() > 0]
        assert still == [], values


@pytest.mark.parametrize("name", REFERENCES)
def test_its_file_computes_the_same_at_any_batch(name: str) -> None:
    one = whole(name)
    values = {choice.name: choice.values[-1] for choice in one.choices}
    for gate in ("se", "eca") if "gate" in values else ("",):
        own = values | ({"gate": gate} if gate else {})
        inputs, outputs, stride, size = shapes_of(one)[0 if one.entered else 1]
        module = drawn(made(one, inputs, outputs, stride, own)).float()
        content = onnx_bytes(module, (inputs, *size))
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        for batch in (1, 3):
            x = torch.randn(batch, inputs, *size, generator=torch.Generator().manual_seed(4))
            (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
            np.testing.assert_allclose(found, module(x).detach().numpy(), rtol=1e-3, atol=1e-3)


def macs_by_hand(name: str, inputs: int, outputs: int, out: int, full: int, own: dict[str, Value]) -> int:
    """Multiply-accumulates from the papers' tables; ``full`` positions come in, ``out`` go out."""
    projected = inputs * outputs * out if (inputs, full) != (outputs, out) else 0
    hidden = int(inputs * int(own.get("expansion", own.get("ratio", 1))))
    if name == "plain":
        return 9 * inputs * outputs * out
    if name == "residual":
        return 9 * inputs * outputs * out + 9 * outputs**2 * out + projected
    if name == "bottleneck":
        inside = max(8, 8 * round(outputs * float(own["ratio"]) / 8))
        return inputs * inside * full + (9 * inside**2 + inside * outputs) * out + projected
    if name == "grouped":
        spatial = 9 * outputs * int(own["group_width"]) * out
        return inputs * outputs * full + spatial + outputs**2 * out + projected
    if name == "mbconv":
        expand = inputs * hidden * full if hidden != inputs else 0
        return expand + hidden * int(own["kernel"]) ** 2 * out + hidden * outputs * out
    if name == "mbconv_experts":
        experts, area = int(own["experts"]), int(own["kernel"]) ** 2
        work = inputs * hidden * full + hidden * area * out + hidden * outputs * out
        if experts == 1:
            return work
        weights = inputs * hidden + hidden * area + hidden * outputs
        return work + experts * (weights + inputs + 2 * hidden)
    if name == "pick_or_mix":
        squeezed = inputs * (inputs // 4) * (full if own["squeeze"] == "conv" else 1)
        return squeezed + 9 * (inputs // 4) ** 2 * out + (inputs // 4) * outputs * out
    if name == "convmixer":
        return inputs * int(own["kernel"]) ** 2 * out + inputs * outputs * out
    if name == "fused_mbconv":
        project = hidden * outputs * out if hidden != inputs else 0
        return 9 * inputs * (hidden if project else outputs) * out + project
    assert name in ("convnext", "depthwise")
    return inputs * int(own["kernel"]) ** 2 * out + 2 * inputs * hidden * out


@pytest.mark.parametrize("name", REFERENCES)
def test_its_multiply_accumulates_are_those_of_the_papers(name: str) -> None:
    one = whole(name)
    for values in every_value(one):
        if values.get("gate", "none") != "none":
            continue
        for inputs, outputs, stride, (height, width) in shapes_of(one):
            found = count_macs(made(one, inputs, outputs, stride, values), (inputs, height, width))
            out = -(-height // stride) * -(-width // stride)
            assert found == macs_by_hand(name, inputs, outputs, out, height * width, values)


def test_bad_blocks_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match="unknown block 'mbcon'. Did you mean 'mbconv'"):
        block("mbcon")
    with pytest.raises(ValueError, match="unknown block 'atention'. Did you mean 'attention'"):
        block("atention")
    with pytest.raises(ValueError, match="a mixer is called that"):
        register_block(Block(name="attention", make=nn.Identity))
    with pytest.raises(ValueError, match="none of inputs, outputs, stride, activation"):
        Block(name="wrong", make=nn.Identity, choices=(Choice("stride", (1, 2)),))
    with pytest.raises(ValueError, match="grouped needs a width that is a multiple of 16, got 24"):
        block("grouped")(24, 24, stride=1, activation="relu", group_width=16)
    with pytest.raises(ValueError, match="unknown gate 'sea'. Did you mean 'se'"):
        block("residual").settings["gate"].check(["none", "sea"])
