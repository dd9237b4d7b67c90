"""Constants that several layers read: each layer in int8 computes what it does alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch import nn
from torch.nn import functional

from compress.onnx.aware import tensor_ranges
from compress.onnx.export import export_onnx
from compress.onnx.file import OnnxFile
from compress.onnx.numbers.integers import integer_layers
from compress.onnx.static import Int8, operators_of, quantize_static

_SHAPE = (3, 6, 6)


class _Bias(nn.Module):
    """A bias that a convolution, a sum and a norm share."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 6, 3), nn.LayerNorm(6)
        nn.init.normal_(self.conv.bias)
        self.norm.bias = self.conv.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x).mean((2, 3)) + self.conv.bias)


class _Transposed(nn.Module):
    """A matrix, and its transpose in the next layer."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 6) * torch.linspace(0.01, 3, 6))
        self.biases = nn.Parameter(torch.randn(2, 6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.linear(x.mean((2, 3)).repeat(1, 2), self.weight, self.biases[0]).relu()
        return functional.linear(x, self.weight.T, self.biases[1])


class _Twice(nn.Module):
    """A layer that runs twice, on inputs of other ranges."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        nn.init.normal_(self.conv.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(5 * self.conv(x).relu()).flatten(1)


class _Tied(nn.Module):
    """Two convolutions with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)
        self.second.weight = self.first.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x).relu()).flatten(1)


def _exported(kind: type[nn.Module], path: Path) -> tuple[Any, np.ndarray, np.ndarray]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network, x = kind().eval(), torch.randn(16, *_SHAPE)
    export_onnx(network, _SHAPE, path)
    with torch.no_grad():
        return network, x.numpy(), network(x).numpy()


def _error(path: Path, x: np.ndarray, right: np.ndarray) -> float:
    return float(np.sqrt(np.mean((OnnxFile(path)(x) - right) ** 2)) / right.std())


@pytest.mark.parametrize("kind", [_Bias, _Transposed, _Twice, _Tied])
@pytest.mark.parametrize("change", [{}, {"correct_bias": True}, {"weight_bits": 6}])
def test_layers_that_share_constants_are_right(tmp_path, kind, change):
    _, x, right = _exported(kind, tmp_path / "float.onnx")
    how = Int8(operators=operators_of("products and sums"), **change)
    quantize_static(tmp_path / "float.onnx", x, tmp_path / "int8.onnx", how)
    assert _error(tmp_path / "int8.onnx", x, right) < 0.05


def test_a_bias_that_a_sum_reads_too_leaves_its_layer_in_int8(tmp_path):
    _, x, _ = _exported(_Bias, tmp_path / "float.onnx")
    how = Int8(operators=operators_of("products and sums"))
    quantize_static(tmp_path / "float.onnx", x, tmp_path / "int8.onnx", how)
    made = onnx.load(tmp_path / "int8.onnx")
    held = {entry.name: entry.data_type for entry in made.graph.initializer}
    (layer,) = integer_layers(made)
    assert layer.name == "conv"
    assert held[layer.bias] == TensorProto.INT32


def test_a_weight_that_is_read_along_two_axes_has_a_scale_for_each_output_of_either(tmp_path):
    network, x, _ = _exported(_Transposed, tmp_path / "float.onnx")
    weight = network.weight.detach().numpy()
    quantize_static(tmp_path / "float.onnx", x, tmp_path / "int8.onnx")
    made = onnx.load(tmp_path / "int8.onnx")
    held = {entry.name: numpy_helper.to_array(entry) for entry in made.graph.initializer}
    scales = [held[layer.scale] for layer in integer_layers(made)]
    assert [layer.layer.output_axis for layer in integer_layers(made)] == [0, 1]
    assert np.allclose(scales[0], np.abs(weight).max(1) / 127, rtol=1e-5)
    assert np.allclose(scales[1], np.abs(weight).max(0) / 127, rtol=1e-5)


def test_known_integers_of_a_layer_that_runs_twice_keep_both_in_int8(tmp_path):
    """The runtime computes in float where the steps of a bias are not those of its layer."""
    network, x, right = _exported(_Twice, tmp_path / "float.onnx")
    weight = network.conv.weight.detach().numpy()
    coarse = np.rint(weight / np.abs(weight).max((1, 2, 3), keepdims=True) * 40).astype(np.int32)
    known = {"conv": coarse}
    quantize_static(tmp_path / "float.onnx", x, tmp_path / "int8.onnx", known_integers=known)
    assert _error(tmp_path / "int8.onnx", x, right) < 0.05
    made = onnx.load(tmp_path / "int8.onnx")
    held = {entry.name: numpy_helper.to_array(entry) for entry in made.graph.initializer}
    for layer in integer_layers(made):
        assert np.abs(held[layer.layer.weight]).max() == 40
        assert np.allclose(held[layer.bias_scale], held[layer.input_scale] * held[layer.scale], rtol=1e-6)


def test_ranges_of_tied_layers_are_found(tmp_path):
    network, _, _ = _exported(_Tied, tmp_path / "float.onnx")
    learned = tensor_ranges(tmp_path / "float.onnx", network, {"first": (-3, 1), "second": (0, 4)})
    assert len(learned) == 2
