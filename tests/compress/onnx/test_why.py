"""The page that says why a file is not faster names what it is made of."""

from __future__ import annotations

import onnx
import pytest
import torch
from torch import nn

from compress.onnx.export import export_onnx
from compress.onnx.static import quantize_static
from compress.onnx.times import OperatorTime, operator_times
from compress.onnx.why import Explanation, explain
from tests.compress.networks import EXAMPLE, images


@pytest.fixture(scope="module")
def explanation(float_file, tmp_path_factory):
    target = tmp_path_factory.mktemp("why") / "int8.onnx"
    quantize_static(float_file, images(32), target)
    return explain(float_file, target, images(1))


def test_every_node_is_counted_once_and_the_longest_comes_first(float_file):
    times = operator_times(float_file, images(1), runs=40)
    convolutions = sum(entry.nodes for entry in times if "Conv" in entry.operator)
    assert convolutions == sum(node.op_type == "Conv" for node in onnx.load(float_file).graph.node)
    latencies = [entry.latency_ms for entry in times]
    assert latencies == sorted(latencies, reverse=True)
    assert all(latency >= 0 for latency in latencies)
    assert sum(latencies) > 0


def test_an_int8_file_is_seen_as_one(explanation):
    assert any(entry.operator == "QLinearConv" for entry in explanation.after)
    assert not any(entry.operator.startswith("QLinear") for entry in explanation.before)
    assert {"QuantizeLinear", "DequantizeLinear"} <= {entry.operator for entry in explanation.after}


def test_the_explanation_survives_json(explanation):
    assert Explanation.from_json(explanation.to_json()) == explanation


def _times(**latencies: float) -> tuple[OperatorTime, ...]:
    return tuple(
        OperatorTime(operator=operator, nodes=2, latency_ms=latency)
        for operator, latency in latencies.items()
    )


def test_what_grew_is_compared_with_its_float_form(monkeypatch, float_file, tmp_path):
    before = _times(Conv=0.5, FusedConv=0.1, Softmax=0.1)
    after = _times(QLinearConv=0.3, QLinearSoftmax=0.4, QuantizeLinear=0.2, Transpose=0.2, Erf=0.1)
    times = iter([before, after])
    monkeypatch.setattr("compress.onnx.why.operator_times", lambda *_, **__: next(times))
    sentences = explain(float_file, float_file, images(1)).sentences
    assert "Softmax takes 0.400 ms where it took 0.100 ms" in sentences
    assert not any(sentence.startswith("Conv takes") for sentence in sentences)
    assert (
        "17% of the time (0.200 ms) is spent on conversions between float and int8: 2 QuantizeLinear"
        in sentences
    )
    assert "17% of the time (0.200 ms) is spent on moving data into another layout: 2 Transpose" in sentences
    assert "8% of the time (0.100 ms) is spent on operators that stayed float: 2 Erf" in sentences


def test_odd_channel_counts_are_named_in_float_and_in_int8(tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(1, 20, 3), nn.ReLU(), nn.Conv2d(20, 16, 3), nn.Flatten())
    export_onnx(network, EXAMPLE, tmp_path / "float.onnx")
    quantize_static(tmp_path / "float.onnx", images(16), tmp_path / "int8.onnx")
    expected = "1 convolutions have channel counts that are not multiples of 16: 1 with 20"
    for name in ("float", "int8"):
        path = tmp_path / f"{name}.onnx"
        assert expected in explain(path, path, images(1)).sentences
        assert not any("channel" in line for line in explain(path, path, images(1), channel_step=4).sentences)


def test_a_file_that_cannot_run_is_named(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    with pytest.raises(ValueError, match=r"broken\.onnx cannot be profiled in ONNX Runtime"):
        operator_times(tmp_path / "broken.onnx", images(1))
