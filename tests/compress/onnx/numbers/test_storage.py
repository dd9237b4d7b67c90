"""Weights in fewer bits: the file computes with what they stand for, and is as small as they are."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn

from compress.candidate import Candidate
from compress.onnx.export import export_onnx
from compress.onnx.file import OnnxFile
from compress.onnx.numbers.storage import STORAGES, block_scales, store_weights
from compress.steps import Quantize, Store
from tests.compress.networks import images
from tests.compress.targets import context

SHARE = {"fp16": 0.55, "bf16": 0.55, "int4": 0.25}


class _Tokens(nn.Module):
    """A convolution, a product on tokens, and a linear layer, each with a weight worth storing."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 96, 4, stride=4)
        self.wide = nn.Linear(96, 200)
        self.head = nn.Linear(200, 96)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        return self.head(self.wide(x).relu().mean(1))


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = _Tokens().eval()
    path = tmp_path_factory.mktemp("stored") / "float.onnx"
    export_onnx(network, torch.zeros(2, 1, 8, 8), path)
    return network, path


def _block_rounded(weight: np.ndarray, block: int) -> np.ndarray:
    """A matrix (outputs, inputs) in 4 bits, a number at a time."""
    scales, rounded = block_scales(weight, block), np.zeros(weight.shape)
    for i, j in np.ndindex(*weight.shape):
        step = scales[i, j // block]
        rounded[i, j] = min(7, max(-7, round(float(weight[i, j]) / step))) * step
    return rounded


@pytest.mark.parametrize("storage", STORAGES)
def test_the_file_is_smaller_and_computes_with_the_rounded_weights(stored, tmp_path, storage):
    network, path = stored
    target = tmp_path / "small.onnx"
    assert set(store_weights(path, target, storage)) == {"patches", "wide", "head"}
    assert target.stat().st_size < SHARE[storage] * path.stat().st_size
    onnx.checker.check_model(onnx.load(target))
    right, got = OnnxFile(path)(images(8)), OnnxFile(target)(images(8))
    error = np.abs(got - right).max() / np.abs(right).max()
    assert 1e-7 < error < {"fp16": 2e-3, "bf16": 2e-2, "int4": 0.3}[storage]
    if storage == "int4":
        rounded = _Tokens().double().eval()
        rounded.load_state_dict(network.state_dict())
        weight = network.patches.weight.detach().numpy().reshape(96, -1)
        for channel in range(96):  # a block as long as the channel is a scale for each channel
            rounded.patches.weight.data[channel] = torch.from_numpy(
                _block_rounded(weight[channel : channel + 1], 16).reshape(1, 4, 4)
            )
        for layer in (rounded.wide, rounded.head):
            layer.weight.data = torch.from_numpy(_block_rounded(layer.weight.detach().numpy(), 32))
        with torch.no_grad():
            exact = rounded(torch.from_numpy(images(8)).double()).numpy()
        assert np.abs(got - exact).max() < 5e-3 * np.abs(exact).max()  # the runtime rounds inputs to 8 bits


def test_an_older_file_is_brought_to_the_operators_of_int4(tmp_path):
    """Before opset 18 the axes of a mean are an attribute, which opset 21 does not know."""
    weight = np.random.default_rng(0).normal(size=(32, 64)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"], "m"),
        helper.make_node("ReduceMean", ["y"], ["z"], "r", axes=[1], keepdims=0),
    ]
    ends = [
        helper.make_tensor_value_info(name, 1, ["n", *sizes])
        for name, sizes in (("x", (5, 32)), ("z", (64,)))
    ]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [numpy_helper.from_array(weight, "w")])
    path, target = tmp_path / "old.onnx", tmp_path / "small.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    store_weights(path, target, "int4")
    onnx.checker.check_model(onnx.load(target))
    x = np.random.default_rng(1).normal(size=(2, 5, 32)).astype(np.float32)
    right = OnnxFile(path)(x)
    assert np.abs(OnnxFile(target)(x) - right).max() < 0.3 * np.abs(right).max()


def test_bad_input_is_named(stored, tmp_path):
    _, path = stored
    with pytest.raises(ValueError, match="unknown storage of weights 'int5'. Did you mean 'int4'?"):
        store_weights(path, tmp_path / "a.onnx", "int5")
    with pytest.raises(ValueError, match="a power of two from 16 on, not 24"):
        store_weights(path, tmp_path / "a.onnx", "int4", block=24)
    store_weights(path, tmp_path / "a.onnx", "int4")
    with pytest.raises(ValueError, match="has no float weights to store as fp16"):
        store_weights(tmp_path / "a.onnx", tmp_path / "b.onnx", "fp16")
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 8)).eval()
    network[1].weight.data[0, 0] = 1e6
    export_onnx(network, torch.zeros(2, 1, 8, 8), tmp_path / "wide.onnx")
    with pytest.raises(ValueError, match="1 has a weight of 1e.06, more than fp16 holds; bf16 does"):
        store_weights(tmp_path / "wide.onnx", tmp_path / "b.onnx", "fp16")


def test_the_step_tries_the_formats_and_nothing_is_quantized_after_it(stored, tmp_path):
    network, path = stored
    asked = context(example=torch.zeros(1, 1, 8, 8), calibration=images(8))
    start = Candidate(network=network, file=path)
    made = Store(formats=("fp16", "int4")).propose(start, asked, tmp_path)
    assert [one.label for one in made] == ["weights in fp16", "weights in int4"]
    with pytest.raises(ValueError, match="the file is int4 already"):
        Quantize().propose(made[1], asked, tmp_path)
