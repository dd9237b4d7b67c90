"""Contracts of int8: the rounding error is at most half a step, and the file runs and predicts the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import numpy_helper
from torch import nn

from compress.onnx.export import export_onnx
from compress.onnx.file import OnnxFile
from compress.onnx.numbers.integers import integer_layers
from compress.onnx.static import CONVOLUTIONS, Int8, quantize_static
from compress.onnx.verify import verify
from tests.compress.networks import images
from tests.compress.onnx.integers import WeightScales, dequantize, quantize, weight_scales

WEIGHTS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=4, max_side=6),
    elements=st.floats(-100, 100, width=32),
)


@settings(max_examples=60)
@given(WEIGHTS, st.booleans())
def test_quantizing_twice_is_quantizing_once_and_errs_by_half_a_step(weight, per_channel):
    scales = weight_scales(weight, per_channel=per_channel)
    once = dequantize(quantize(weight, scales), scales)
    assert np.array_equal(quantize(once, scales), quantize(weight, scales))
    assert np.array_equal(dequantize(quantize(once, scales), scales), once)
    assert (np.abs(once - weight) <= scales.broadcast(weight.ndim) / 2 * (1 + 1e-5)).all()


@settings(max_examples=60)
@given(WEIGHTS)
def test_a_scale_for_each_channel_is_never_coarser_than_one_for_all(weight):
    fine, coarse = weight_scales(weight, per_channel=True), weight_scales(weight, per_channel=False)
    assert (fine.scale <= coarse.scale).all()
    bound = [scales.broadcast(weight.ndim) / 2 for scales in (fine, coarse)]
    assert (bound[0] <= bound[1]).all()


@pytest.fixture(scope="module")
def int8_files(float_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("int8")
    files = {}
    for name, per_channel in (("channel", True), ("tensor", False)):
        files[name] = folder / f"{name}.onnx"
        quantize_static(float_file, images(64), files[name], Int8(per_channel=per_channel))
    return files


def _weights(path: Path) -> dict[str, np.ndarray]:
    return {entry.name: numpy_helper.to_array(entry) for entry in onnx.load(path).graph.initializer}


def test_the_files_weights_are_ours(float_file, int8_files):
    """ONNX Runtime's integers and scales are those that the contracts above hold for."""
    floats = _weights(float_file)
    for name, per_channel in (("channel", True), ("tensor", False)):
        stored, checked = _weights(int8_files[name]), 0
        for weight_name, weight in floats.items():
            if f"{weight_name}_quantized" not in stored or weight.ndim != 4:
                continue
            scale = np.atleast_1d(stored[f"{weight_name}_scale"])
            scales = WeightScales(scale=scale)
            integers = stored[f"{weight_name}_quantized"]
            assert np.abs(dequantize(integers, scales) - weight).max() <= scale.max() / 2 * (1 + 1e-5)
            assert np.allclose(scale, weight_scales(weight, per_channel=per_channel).scale, rtol=1e-5)
            assert np.array_equal(integers, quantize(weight, scales))
            checked += 1
        assert checked > 10


def test_int8_predicts_as_the_network_does_and_is_smaller(float_file, int8_files, network):
    data = images(200, seed=3)
    record = verify(int8_files["channel"], network, (data, np.zeros(200)))
    assert record.equal_predictions > 0.9
    assert record.max_difference < 0.2 * record.logit_scale
    assert int8_files["channel"].stat().st_size < 0.5 * float_file.stat().st_size


def test_only_the_named_operators_are_quantized(float_file, tmp_path):
    target = tmp_path / "int8.onnx"
    quantize_static(float_file, images(32), target, Int8(operators=CONVOLUTIONS))
    graph = onnx.load(target).graph
    makers = {output: node.op_type for node in graph.node for output in node.output}
    for node in graph.node:
        if node.op_type == "MatMul":
            assert makers[node.input[0]] != "DequantizeLinear"
        if node.op_type == "Conv":
            assert makers[node.input[0]] == "DequantizeLinear"
    assert [path.name for path in tmp_path.iterdir()] == ["int8.onnx"]


def test_a_given_range_replaces_the_calibrated_one(float_file, tmp_path):
    graph = onnx.load(float_file).graph
    name = next(node.input[0] for node in graph.node if node.op_type == "Conv" and node.input[0] != "images")
    target = tmp_path / "int8.onnx"
    quantize_static(float_file, images(32), target, known_ranges={name: (0.0, 51.0)})
    assert _weights(target)[f"{name}_scale"] == pytest.approx(0.2)


@pytest.mark.parametrize("ranges", ["percentile", "mse", "entropy"])
def test_other_range_methods_give_a_file_that_runs(float_file, tmp_path, ranges, capsys):
    target = tmp_path / "int8.onnx"
    quantize_static(float_file, images(40), target, Int8(ranges=ranges), batch_size=16)
    assert np.isfinite(OnnxFile(target)(images(4))).all()
    assert capsys.readouterr().out == ""


def test_bad_input_is_named_and_leaves_nothing(float_file, tmp_path):
    target = tmp_path / "int8.onnx"
    with pytest.raises(
        ValueError, match=r"unknown range method 'max'\..* Valid: minmax, percentile, mse, entropy"
    ):
        quantize_static(float_file, images(8), target, Int8(ranges="max"))
    with pytest.raises(ValueError, match="no calibration images"):
        quantize_static(float_file, images(0), target)
    with pytest.raises(ValueError, match=r"model\.onnx cannot be quantized: "):
        quantize_static(float_file, np.zeros((8, 3, 8, 8), np.float32), target)
    assert list(tmp_path.iterdir()) == []


def test_a_grouped_transposed_convolution_stays_float_and_the_rest_is_quantized(tmp_path):
    transposed = nn.ConvTranspose2d(32, 32, 2, 2, groups=4)
    network = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), transposed, nn.Conv2d(32, 3, 1)).eval()
    export_onnx(network, (1, 8, 8), tmp_path / "float.onnx")
    quantize_static(tmp_path / "float.onnx", images(16), tmp_path / "int8.onnx")
    with torch.no_grad():
        right = network(torch.from_numpy(images(4))).numpy()
    got = OnnxFile(tmp_path / "int8.onnx")(images(4))
    assert np.abs(got - right).max() < 0.1 * np.abs(right).max()
    graph = onnx.load(tmp_path / "int8.onnx").graph
    weights = {entry.name: entry.data_type for entry in graph.initializer}
    assert weights["2.weight"] == onnx.TensorProto.FLOAT
    assert sum(kind == onnx.TensorProto.INT8 for kind in weights.values()) >= 2


def test_where_that_is_faster_small_convolutions_of_few_channels_stay_float_and_no_others(tmp_path):
    layers = {
        "thin": nn.Conv2d(3, 3, 3, padding=1),  # 27 products an output number
        "wide": nn.Conv2d(3, 3, 7, padding=3),
        "depthwise": nn.Conv2d(3, 3, 3, padding=1, groups=3),
        "point": nn.Conv2d(3, 4, 1),
        "four": nn.Conv2d(4, 4, 3, padding=1),
    }
    network = nn.Sequential(*layers.values()).eval()
    given = np.random.default_rng(0).standard_normal((8, 3, 8, 8)).astype(np.float32)
    export_onnx(network, (3, 8, 8), tmp_path / "float.onnx")
    for float_thin in (False, True):
        file = tmp_path / f"{float_thin}.onnx"
        quantize_static(tmp_path / "float.onnx", given, file, Int8(float_thin=float_thin))
        found = {one.name for one in integer_layers(onnx.load(file))}
        left = [name for place, name in enumerate(layers) if str(place) not in found]
        assert left == (["thin"] if float_thin else [])
        assert np.isfinite(OnnxFile(file)(given)).all()


class Residual(nn.Module):
    """Two layers beside what they read."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.SiLU(), nn.Conv2d(4, 4, 3, padding=1))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps + self.inner(maps)


@pytest.mark.parametrize(
    ("behind", "left"),
    [
        (nn.Sequential(nn.SiLU(), nn.Conv2d(4, 4, 3)), True),
        (Residual(), False),
        (nn.Sequential(nn.ReLU(), Residual()), False),
        (nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3)), False),
        (nn.ReLU(), False),
    ],
)
def test_a_first_convolution_stays_float_where_convolutions_alone_read_it(tmp_path, behind, left):
    export_onnx(nn.Sequential(nn.Conv2d(1, 4, 3), behind).eval(), (1, 8, 8), tmp_path / "float.onnx")
    quantize_static(tmp_path / "float.onnx", images(8), tmp_path / "int8.onnx", Int8(float_thin=True))
    assert ("0" not in {one.name for one in integer_layers(onnx.load(tmp_path / "int8.onnx"))}) == left


def test_a_graph_with_nothing_to_quantize_brings_no_chatter_of_the_runtime(tmp_path, capfd):
    class Mean(nn.Module):
        def forward(self, x):
            return x.mean((2, 3))

    export_onnx(Mean(), torch.zeros(2, 4, 8, 8), tmp_path / "m.onnx")
    capfd.readouterr()
    quantize_static(tmp_path / "m.onnx", np.zeros((4, 4, 8, 8), np.float32), tmp_path / "int8.onnx")
    assert capfd.readouterr() == ("", ""), (
        "an initializer that calibration leaves unread is warned of past Python"
    )
