"""Two files beside each other: every node once, partners by name and by order, sentences that name layers."""

from __future__ import annotations

import onnx
import pytest
import torch
from onnx import helper
from torch import nn

from compress.onnx.differences import difference, pair_nodes, table
from compress.onnx.export import export_onnx
from compress.onnx.layers import weighted_nodes
from compress.onnx.static import quantize_static
from compress.onnx.times import NodeTime, node_times
from tests.compress.networks import images

EMPTY = helper.make_model(helper.make_graph([], "empty", [], []))


def _node(layer: str, operator: str = "Conv", latency_ms: float = 1.0, **changes: object) -> NodeTime:
    made = {"shape": (1, 16, 8, 8), "outputs": 16 if operator in ("Conv", "QLinearConv") else 0, "macs": 100}
    made["macs"] = made["macs"] if made["outputs"] else 0
    return NodeTime(layer=layer, operator=operator, latency_ms=latency_ms, **(made | changes))


def test_layers_of_a_float_and_of_an_int8_file_have_one_name_and_the_macs_of_a_hand_count(tmp_path):
    network = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, groups=4),
        nn.Flatten(),
        nn.Linear(1152, 10),
    )
    export_onnx(network, torch.zeros(2, 1, 8, 8), tmp_path / "a.onnx")
    quantize_static(tmp_path / "a.onnx", images(8), tmp_path / "b.onnx")
    files = [tmp_path / "a.onnx", tmp_path / "b.onnx"]
    assert [[one.name for one in weighted_nodes(onnx.load(file))] for file in files] == [["0", "2", "4"]] * 2
    before, after = (node_times(file, images(1), runs=4) for file in files)
    hand = {"0": 32 * 8 * 8 * 9, "2": 32 * 6 * 6 * 8 * 9, "4": 1152 * 10}
    for nodes in (before, after):
        assert {node.layer: node.macs for node in nodes if node.outputs} == hand
    pairs = [pair for pair in pair_nodes(before, after) if pair.name in hand]
    assert [(pair.before.layer, pair.change.split()[-1]) for pair in pairs] == [
        ("0", "QLinearConv"),
        ("2", "QLinearConv"),
        ("4", "QGemm"),
    ]


def test_every_node_is_in_one_pair_and_names_come_before_order():
    before = [_node("a"), _node("b"), _node("relu", "Relu"), _node("c")]
    after = [_node("x"), _node("c"), _node("Transpose", "Transpose"), _node("relu2", "Relu")]
    pairs = pair_nodes(before, after)
    told = [(pair.before and pair.before.layer, pair.after and pair.after.layer) for pair in pairs]
    assert told == [("a", "x"), ("c", "c"), (None, "Transpose"), ("relu", "relu2"), ("b", None)]
    assert [pair.change for pair in pairs] == ["", "", "new", "", "gone"]


def test_what_would_help_is_said_of_the_layers_that_need_it():
    before = [_node("a", macs=400, outputs=64), _node("b"), _node("gelu", "Gelu", 0.2)]
    after = [
        _node("a", latency_ms=0.95, macs=200, outputs=30),
        _node("b", "QLinearConv", 1.1, number_format="uint8"),
        _node("gelu", "Gelu", 0.2),
        *(_node(f"r{i}", "Sub", 0.005) for i in range(80)),
        _node("e", "Erf", 0.2),
    ]
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["x"]),
        helper.make_node("Gelu", ["x"], ["y"], name="gelu"),
        helper.make_node("QuantizeLinear", ["y", "s", "z"], ["w"]),
    ]
    model = helper.make_model(helper.make_graph(nodes, "g", [], []))
    remarks = " / ".join(difference(before, after, model).remarks)
    for sentence in (
        "1.67x fewer multiply-accumulates came out as 0.77x in time (46% of it)",
        "no int8 form of 1 Gelu, with conversions on both sides",
        "a (2x fewer MACs, 1.05x in time)",
        "b (int8, 0.91x in time)",
        "a has 30, next 16 or 32",
        "1 Erf, 7% of the time: GELU stands there in pieces",
        "80 of 84 operators take under 6 us each, 14% of the time",
    ):
        assert sentence in remarks


def test_the_table_has_eighty_columns_and_sums_what_it_does_not_list():
    before = [_node("a" * 60, latency_ms=2.0), *(_node(f"n{i}") for i in range(5))]
    after = [_node("a" * 60, "QLinearConv", 0.5), *(_node(f"n{i}", outputs=48, macs=7) for i in range(5))]
    lines: list[str] = []
    table(difference(before, after, EMPTY), lines.append, rows=3)
    assert max(map(len, lines)) <= 80
    assert lines[1].split()[1:5] == ["2.000", "0.500", "-1.500", "Conv"]
    assert lines[-2].split()[:5] == ["3", "others", "3.000", "3.000", "+0.000"]
    assert lines[-1].split()[2:4] == ["7.000", "5.500"]


def test_the_same_file_twice_says_nothing_of_arithmetic():
    nodes = [_node("a"), _node("b")]
    assert difference(nodes, nodes, EMPTY).remarks == ()


@pytest.mark.parametrize("count", [0, 1])
def test_a_file_of_few_nodes_is_no_division_by_zero(count):
    nodes = [_node("a", latency_ms=0.0)] * count
    assert difference(nodes, nodes, EMPTY).after_ms == 0
