"""Attention in int8: whatever its weights are like, what the runtime fuses computes what the file says."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto, TensorProto, helper
from torch import nn

from compress.onnx.export import export_onnx
from compress.onnx.file import OnnxFile
from compress.onnx.numbers.softmax import least_ends
from compress.onnx.static import Int8, OperatorSet, operators_of, quantize_static
from compress.onnx.taps import tapped

_CHANNELS = 8


class _Attention(nn.Module):
    """Attention that is nearly uniform."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(_CHANNELS, 3 * _CHANNELS), nn.Linear(_CHANNELS, _CHANNELS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        return self.out((0.01 * q @ k.transpose(1, 2)).softmax(-1) @ v)


@pytest.mark.parametrize(
    ("operators", "tokens"), [("products and sums", 17), ("products and sums", 200), ("every operator", 600)]
)
@pytest.mark.parametrize("symmetric", [False, True])
def test_nearly_uniform_attention_survives(tmp_path, operators: OperatorSet, tokens, symmetric):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network, x = _Attention().eval(), torch.randn(4, tokens, _CHANNELS)
    export_onnx(network, (tokens, _CHANNELS), tmp_path / "float.onnx")
    how = Int8(operators=operators_of(operators), symmetric=symmetric)
    quantize_static(tmp_path / "float.onnx", x.numpy(), tmp_path / "int8.onnx", how)
    with torch.no_grad():
        right = network(x).numpy()
    got = OnnxFile(tmp_path / "int8.onnx")(x.numpy())
    told = next(tapped(onnx.load(tmp_path / "int8.onnx"), ["logits"], x.numpy()))["logits"]
    assert np.sqrt(np.mean((got - right) ** 2)) < 0.08 * right.std(), "without attention it is 0.6"
    assert np.sqrt(np.mean((got - told) ** 2)) < 0.02 * right.std(), "fused, and node by node"


def _file(axis: int) -> ModelProto:
    graph = helper.make_graph(
        [
            helper.make_node("Softmax", ["x"], ["weights"], axis=axis),
            helper.make_node("Transpose", ["weights"], ["turned"], perm=[0, 2, 1]),
            helper.make_node("Neg", ["turned"], ["y"]),
        ],
        "softmax",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4, 10])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10, 4])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize(("axis", "values"), [(-1, 10), (2, 10), (1, 4)])
def test_the_end_goes_by_the_values_that_sum_to_one_and_holds_for_what_rearranges_them(axis, values):
    ends = least_ends(_file(axis), np.zeros((3, 4, 10), np.float32))
    assert ends == {"weights": 2 / values, "turned": 2 / values}
