"""What says why a file is not faster names what it is made of."""

from __future__ import annotations

import onnx
import pytest
from torch import nn

from compress.onnx.static import quantize_static
from compress.onnx.times import operator_times
from compress.target import OperatorTime
from compress.why import explain
from tests.compress.networks import images


def test_every_node_is_counted_once_and_the_longest_comes_first(float_file):
    times = operator_times(float_file, images(1), runs=40)
    convolutions = sum(entry.nodes for entry in times if "Conv" in entry.operator)
    assert convolutions == sum(node.op_type == "Conv" for node in onnx.load(float_file).graph.node)
    latencies = [entry.latency_ms for entry in times]
    assert latencies == sorted(latencies, reverse=True)
    assert all(latency >= 0 for latency in latencies)
    assert sum(latencies) > 0


def test_an_int8_file_is_seen_as_one(float_file, tmp_path):
    quantize_static(float_file, images(32), tmp_path / "int8.onnx")
    before = {entry.operator for entry in operator_times(float_file, images(1))}
    after = {entry.operator for entry in operator_times(tmp_path / "int8.onnx", images(1))}
    assert {"QLinearConv", "QuantizeLinear", "DequantizeLinear"} <= after
    assert not any(operator.startswith("QLinear") for operator in before)


def _times(**latencies: float) -> tuple[OperatorTime, ...]:
    return tuple(
        OperatorTime(operator=operator, nodes=2, latency_ms=latency)
        for operator, latency in latencies.items()
    )


def test_what_grew_is_compared_with_its_float_form():
    before = _times(Conv=0.5, FusedConv=0.1, Softmax=0.1)
    after = _times(QLinearConv=0.3, QLinearSoftmax=0.4, QuantizeLinear=0.2, Transpose=0.2, Erf=0.1)
    sentences = explain(before, after, nn.Identity())
    assert "Softmax takes 0.400 ms where it took 0.100 ms" in sentences
    assert not any(sentence.startswith("Conv takes") for sentence in sentences)
    assert (
        "17% of the time (0.200 ms) is spent on conversions between number formats: 2 QuantizeLinear"
        in sentences
    )
    assert "17% of the time (0.200 ms) is spent on moving data into another layout: 2 Transpose" in sentences
    assert "8% of the time (0.100 ms) is spent on operators that stayed float: 2 Erf" in sentences


def test_odd_channel_counts_are_named():
    network = nn.Sequential(nn.Conv2d(1, 20, 3), nn.ReLU(), nn.Conv2d(20, 16, 3), nn.Flatten())
    times = _times(Conv=1.0)
    assert explain(times, times, network) == (
        "1 convolutions have channel counts that are not multiples of 16: 1 with 20",
    )
    assert explain(times, times, network, channel_step=4) == ()


def test_a_file_that_cannot_run_is_named(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    with pytest.raises(ValueError, match=r"broken\.onnx cannot be timed by operator in ONNX Runtime"):
        operator_times(tmp_path / "broken.onnx", images(1))
