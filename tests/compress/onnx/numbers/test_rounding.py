"""Equalization leaves the function alone; rounding and biases do what their formulas say, layer by layer."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from compress.onnx.export import export_onnx
from compress.onnx.file import OnnxFile
from compress.onnx.layers import weighted_nodes
from compress.onnx.numbers.equalize import equalize
from compress.onnx.numbers.integers import integer_layers, weight_scale
from compress.onnx.numbers.rounding import apply
from compress.onnx.static import CONVOLUTIONS, Int8, quantize_static
from tests.compress.networks import images


class Uneven(nn.Module):
    """Channels whose weights differ by two orders of magnitude, a depthwise layer among them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.grouped = nn.Conv2d(8, 12, 3, stride=2, padding=(1, 0), groups=2)
        self.head = nn.Linear(12, 5)

    def forward(self, x):
        x = self.grouped(self.depthwise(self.first(x).relu()).relu()).relu()
        return self.head(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Uneven().eval()
        with torch.no_grad():
            for layer in (network.first, network.depthwise, network.grouped):
                layer.weight *= torch.logspace(-1, 1, layer.out_channels).reshape(-1, 1, 1, 1)
    path = tmp_path_factory.mktemp("uneven") / "float.onnx"
    export_onnx(network, torch.zeros(2, 1, 8, 8), path)
    return path


def test_equalized_layers_compute_the_same_and_their_channels_are_as_wide_as_those_that_read_them(uneven):
    model = onnx.load(uneven)
    before = OnnxFile(uneven)(images(8))
    pairs = equalize(model)
    assert pairs == (("first", "depthwise"), ("depthwise", "grouped"), ("grouped", "head"))
    after = OnnxFile(model.SerializeToString())(images(8))
    assert np.abs(after - before).max() < 1e-5 * np.abs(before).max()
    held = {entry.name: numpy_helper.to_array(entry) for entry in model.graph.initializer}
    for channel in range(8):
        made = np.abs(held["first.weight"][channel]).max()
        assert made == pytest.approx(np.abs(held["depthwise.weight"][channel]).max(), rel=0.05)
        group, place = divmod(channel, 4)
        read = np.abs(held["grouped.weight"][6 * group : 6 * group + 6, place]).max()
        assert np.abs(held["depthwise.weight"][channel]).max() == pytest.approx(read, rel=0.05)
    assert equalize(onnx.ModelProto()) == ()


def test_what_is_read_twice_is_not_equalized(float_file):
    model = onnx.load(float_file)
    before = OnnxFile(float_file)(images(8))
    equalize(model)
    after = OnnxFile(model.SerializeToString())(images(8))
    assert np.abs(after - before).max() < 1e-4 * np.abs(before).max()


def _convolution(x, weight, stride, pad, groups):
    """Outputs of a convolution in float64, by loops."""
    count, _, height, width = x.shape
    outputs, inputs, kernel, _ = weight.shape
    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (pad[0],) * 2, (pad[1],) * 2))
    size = [
        (length + 2 * side - kernel) // stride + 1 for length, side in zip((height, width), pad, strict=True)
    ]
    made = np.zeros((count, outputs, *size))
    for channel in range(outputs):
        first = channel // (outputs // groups) * inputs
        for i in range(size[0]):
            for j in range(size[1]):
                part = x[
                    :,
                    first : first + inputs,
                    i * stride : i * stride + kernel,
                    j * stride : j * stride + kernel,
                ]
                made[:, channel, i, j] = (part * weight[channel].astype(np.float64)).sum((1, 2, 3))
    return made


def test_a_layer_by_itself_is_the_convolution_of_the_file(uneven):
    model = onnx.load(uneven)
    held = {entry.name: numpy_helper.to_array(entry) for entry in model.graph.initializer}
    layers = {one.name: one for one in weighted_nodes(model)}
    x = np.random.default_rng(0).normal(size=(2, 8, 7, 8)).astype(np.float32)
    for name, stride, pad, groups in (("depthwise", 1, (1, 1), 8), ("grouped", 2, (1, 0), 2)):
        weight = held[f"{name}.weight"]
        got = apply(layers[name], torch.from_numpy(x), torch.from_numpy(weight)).numpy()
        assert np.abs(got - _convolution(x, weight, stride, pad, groups)).max() < 1e-4


def _errors(path, int8):
    right, got = OnnxFile(path)(images(64)), OnnxFile(int8)(images(64))
    return float(((right - got) ** 2).mean()), np.abs((right - got).mean(axis=0)).max()


def test_adaptive_rounding_moves_each_weight_by_less_than_a_step_and_errs_less(uneven, tmp_path):
    errors = {}
    for rounding in ("nearest", "adaptive"):
        how = Int8(operators=CONVOLUTIONS, weight_bits=3, rounding=rounding, rounding_steps=150)
        quantize_static(uneven, images(64), tmp_path / rounding, how)
        errors[rounding] = _errors(uneven, tmp_path / rounding)[0]
    assert errors["adaptive"] < 0.8 * errors["nearest"]
    floats = {entry.name: numpy_helper.to_array(entry) for entry in onnx.load(uneven).graph.initializer}
    model = onnx.load(tmp_path / "adaptive")
    held = {entry.name: numpy_helper.to_array(entry) for entry in model.graph.initializer}
    moved = 0
    for one in integer_layers(model):
        weight, integers = floats[one.layer.weight.removesuffix("_quantized")], held[one.layer.weight]
        assert np.abs(integers).max() <= 3
        scale = held[one.scale].reshape(-1, *[1] * (weight.ndim - 1))
        inside = np.abs(weight / scale) < 3
        assert (np.abs(integers - weight / scale)[inside] < 1 + 1e-4).all()
        moved += (integers != np.clip(np.rint(weight / scale), -3, 3)).sum()
    assert moved > 0


def test_a_corrected_bias_keeps_the_mean_of_each_output(uneven, tmp_path):
    means = {}
    for corrected in (False, True):
        how = Int8(operators=CONVOLUTIONS, weight_bits=4, correct_bias=corrected)
        quantize_static(uneven, images(64), tmp_path / f"{corrected}", how)
        means[corrected] = _errors(uneven, tmp_path / f"{corrected}")[1]
    assert means[True] < 0.5 * means[False]


def _row_error(row, step):
    return sum((value - min(3, max(-3, round(value / step))) * step) ** 2 for value in row)


def test_scales_of_few_bits_err_least_and_those_of_eight_clip_nothing():
    weight = np.random.default_rng(0).standard_t(3, (6, 40))
    assert np.allclose(weight_scale(weight, 0, 8, per_channel=True), np.abs(weight).max(1) / 127)
    found = weight_scale(weight, 0, 3, per_channel=True)
    for row, scale in zip(weight, found, strict=True):
        tried = [_row_error(row, share * np.abs(row).max() / 3) for share in np.linspace(0.3, 1, 60)]
        assert _row_error(row, scale) < 1.05 * min(tried)
    assert weight_scale(weight, 0, 3, per_channel=False).shape == ()


@pytest.mark.parametrize("how", [Int8(weight_bits=6), Int8(rounding="adaptive", rounding_steps=2)])
def test_channels_of_hardly_any_weight_keep_their_bias(tmp_path, how):
    """Their own scale would be so small that the bias has more steps than 32 bits hold."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(216, 4)).eval()
    with torch.no_grad():
        network[0].weight[1] = 0
        network[0].weight[2] *= 1e-14
        network[0].bias[1:3] = torch.tensor([5.0, 3.0])
    export_onnx(network, torch.zeros(2, 1, 8, 8), tmp_path / "float.onnx")
    right = OnnxFile(tmp_path / "float.onnx")(images(16))
    quantize_static(tmp_path / "float.onnx", images(32), tmp_path / "int8.onnx", how)
    assert np.abs(OnnxFile(tmp_path / "int8.onnx")(images(16)) - right).max() < 0.1 * np.abs(right).max()


def test_a_channel_whose_known_integers_are_all_zero_keeps_its_bias(tmp_path):
    network = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Flatten()).eval()
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([0.5, 1e-3, 1.0, -1.0]).reshape(4, 1, 1, 1))
        network[0].bias.fill_(2.0)
    export_onnx(network, torch.zeros(2, 1, 8, 8), tmp_path / "float.onnx")
    whole = np.array([1, 0, 2, -2], np.int32).reshape(4, 1, 1, 1)
    quantize_static(tmp_path / "float.onnx", images(32), tmp_path / "int8.onnx", known_integers={"0": whole})
    right = OnnxFile(tmp_path / "float.onnx")(images(16))
    assert np.abs(OnnxFile(tmp_path / "int8.onnx")(images(16)) - right).max() < 0.03
