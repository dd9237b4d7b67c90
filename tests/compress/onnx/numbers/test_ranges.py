"""Ranges of activations against their definitions in float64, by loops over values and bins."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compress.onnx.numbers.ranges import BINS, RANGE_METHODS, activation_ranges, range_of
from compress.onnx.static import Int8, quantize_static
from compress.onnx.taps import float_tensors
from tests.compress.networks import images


def _file(weight: np.ndarray) -> onnx.ModelProto:
    """x (N, 4) times a matrix, then a ReLU."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], "m"), helper.make_node("Relu", ["y"], ["z"], "r")]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in ("x", "z")]
    held = [numpy_helper.from_array(weight.astype(np.float32), "w")]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], held)
    graph.value_info.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4]))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _spread(count: int = 4000, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_t(3, count)


def test_the_extremes_are_those_of_all_batches_and_hold_zero():
    x = np.array([[1.0, 2, 3, 4], [5, 6, 7, 8], [2, 2, 2, 9]], np.float32)
    model = _file(np.diag([1, -1, 0.5, 2]))
    for batch_size in (1, 2, 32):  # the last batch of two is not a whole one
        found = activation_ranges(model, x, float_tensors(model), "minmax", batch_size=batch_size)
        assert found == {"x": (0.0, 9.0), "y": (-6.0, 18.0), "z": (0.0, 18.0)}
    for entry in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        entry.type.tensor_type.shape.dim[0].dim_value = 2
    assert activation_ranges(model, x, ["y"]) == {"y": (-6.0, 16.0)}
    with pytest.raises(ValueError, match="there are 1, and it takes 2 at once"):
        activation_ranges(model, x[:1], ["y"])


def test_a_percentile_is_that_of_the_values_to_a_bin():
    values = _spread()
    counts, edges = np.histogram(values, BINS)
    low, high = range_of(counts, (edges[0], edges[-1]), "percentile", percentile=99)
    width = edges[1] - edges[0]
    assert high == pytest.approx(np.quantile(values, 0.99), abs=2 * width)
    assert low == pytest.approx(np.quantile(values, 0.01), abs=2 * width)
    assert range_of(counts, (edges[0], edges[-1]), "percentile", percentile=100) == pytest.approx(
        (edges[0], edges[-1])
    )


def _rounding_error(values: np.ndarray, low: float, high: float) -> float:
    """Sum of the squared distances to the nearest of 256 levels."""
    step = (high - low) / 255
    zero = round(-low / step)
    levels = np.array([(level - zero) * step for level in range(256)])
    above = np.clip(np.searchsorted(levels, values), 1, 255)
    return math.fsum(np.minimum((values - levels[above]) ** 2, (values - levels[above - 1]) ** 2))


def test_least_squared_error_is_nearly_that_of_a_search_over_the_values():
    values = np.append(np.random.default_rng(0).normal(size=100_000), 8.0)  # one far away
    counts, edges = np.histogram(values, BINS)
    found = _rounding_error(values, *range_of(counts, (edges[0], edges[-1]), "mse"))
    whole = _rounding_error(values, values.min(), values.max())
    best = min(
        _rounding_error(values, low * values.min(), high * values.max())
        for low in np.linspace(0.1, 1, 10)
        for high in np.linspace(0.1, 1, 10)
    )
    assert found < 0.9 * whole
    assert found < 1.05 * best


def _divergence(counts: np.ndarray, first: int, last: int) -> float:
    """Of the bins first to last, 256 levels in the place of their own, from the clipped distribution."""
    kept = [float(count) for count in counts[first:last]]
    p = list(kept)
    p[0] += sum(counts[:first])
    p[-1] += sum(counts[last:])
    groups: dict[int, list[int]] = {}
    for index in range(len(kept)):
        groups.setdefault(index * 256 // max(len(kept), 256), []).append(index)
    q = [0.0] * len(kept)
    for members in groups.values():
        used = [index for index in members if kept[index]]
        for index in used:
            q[index] = sum(kept[member] for member in members) / len(used)
    return math.fsum(
        one / sum(p) * math.log(one / sum(p) / max(other / sum(q), 1e-9))
        for one, other in zip(p, q, strict=True)
        if one
    )


def test_least_divergence_is_the_least_over_the_ends_that_are_tried():
    values = np.abs(_spread(20000))
    counts, edges = np.histogram(values, 512, (0.0, float(values.max())))
    cut_off = counts.copy()
    cut_off[0] += 10**6  # zeros behind a ReLU
    low, high = range_of(cut_off, (0.0, float(edges[-1])), "entropy")
    counts[0] = counts[1]
    width = edges[-1] / 512
    inside = [
        sum((i + 0.5) * width <= share * edges[-1] for i in range(512))
        for share in np.linspace(1, 1 / 64, 64)
    ]
    tried = {last: _divergence(counts, 0, last) for last in set(inside)}
    assert low == 0
    mine = sum((i + 0.5) * width <= high for i in range(512))
    assert tried[mine] == pytest.approx(min(tried.values()), abs=1e-9)
    assert high < edges[-1]


@pytest.mark.parametrize("method", RANGE_METHODS)
def test_one_value_and_no_value_have_a_range(method):
    assert range_of(np.zeros(8), (0.0, 0.0), method) == (0.0, 0.0)
    model = _file(np.eye(4))
    found = activation_ranges(model, np.full((2, 4), 3, np.float32), ["x"], method)
    low, high = found["x"]
    assert low == 0
    assert high == pytest.approx(3, rel=0.02)


def test_what_is_not_finite_and_what_does_not_exist_are_said(float_file, tmp_path):
    model = _file(np.eye(4))
    with pytest.raises(ValueError, match="x is not finite on the calibration images"):
        activation_ranges(model, np.array([[np.nan, 0, 0, 0]], np.float32), ["x"])
    with pytest.raises(ValueError, match="unknown range method 'minmx'. Did you mean 'minmax'?"):
        activation_ranges(model, np.zeros((1, 4), np.float32), ["x"], "minmx")
    with pytest.raises(ValueError, match="unknown layer 'stage9'"):
        quantize_static(float_file, images(8), tmp_path / "a.onnx", Int8(float_layers=("stage9",)))
    with pytest.raises(ValueError, match="weights have 2 to 8 bits, not 1"):
        quantize_static(float_file, images(8), tmp_path / "a.onnx", Int8(weight_bits=1))


def test_layers_that_are_named_stay_float_and_activations_may_be_symmetric(float_file, tmp_path):
    how = Int8(float_layers=("stage1_block0_attention", "head"), symmetric=True)
    quantize_static(float_file, images(16), tmp_path / "a.onnx", how)
    held = {entry.name: entry for entry in onnx.load(tmp_path / "a.onnx").graph.initializer}
    assert held["head.classify.weight"].data_type == TensorProto.FLOAT
    assert "stage1_block0_attention.inner.q.conv.weight_quantized" not in held
    assert "stage1_block0_mlp.inner.expand.conv.weight_quantized" in held
    zero = numpy_helper.to_array(held["images_zero_point"])
    assert (zero.dtype, int(zero)) == (np.int8, 0)
