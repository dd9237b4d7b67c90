"""Preparation of images inside an ONNX file: 8-bit pixels of any size in, resize and normalization included.

Pillow's bilinear resize, which training images went through, is a product with a matrix along each axis that
rounds to whole levels after both (its ``Resample.c``: weights are rounded to 22 bits, the box to float32).
Made of a picture's size by plain operators, with these roundings, the products give the same levels (within
one where Pillow 13 begins with the other axis, as it does with tall images); the operator ``Resize`` means
something else. Sums of 8-bit levels times 22-bit weights are too long for float32, so
weights are taken in two halves of 11 bits, of which both sums are exact.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, compose, numpy_helper, parser

from results.records import Preprocessing

INPUT_NAME = "pixels"
"""Input of such files: uint8 (batch, height, width, channels), channels being those of the network."""

_BITS = 22  # that Pillow gives a weight

_AXIS = """
    {a}_share = Mul ({other}, {ratio})
    {a}_crop = Min ({side}, {a}_share)
    {a}_spare = Sub ({side}, {a}_crop)
    {a}_left = Mul ({a}_spare, q_half)
    {a}_right = Add ({a}_left, {a}_crop)
    {a}_first = Cast <to = 1> ({a}_left)
    {a}_last = Cast <to = 1> ({a}_right)
    {a}_length = Sub ({a}_last, {a}_first)
    {a}_begin = Cast <to = 11> ({a}_first)
    {a}_whole = Cast <to = 11> ({a}_length)
    {a}_step = Div ({a}_whole, {a}_size)
    {a}_reach = Max ({a}_step, q_one)
    {a}_steps = Mul ({a}_outputs, {a}_step)
    {a}_centres = Add ({a}_steps, {a}_begin)
    {a}_inputs = Range (q_zero, {side}, q_one)
    {a}_places = Add ({a}_inputs, q_half)
    {a}_apart = Sub ({a}_places, {a}_centres)
    {a}_far = Abs ({a}_apart)
    {a}_far_share = Div ({a}_far, {a}_reach)
    {a}_near = Sub (q_one, {a}_far_share)
    {a}_weights = Max ({a}_near, q_zero)
    {a}_sums = ReduceSum <keepdims = 1> ({a}_weights, q_last)
    {a}_shares = Div ({a}_weights, {a}_sums)
    {a}_large = Mul ({a}_shares, q_fine)
    {a}_large_up = Add ({a}_large, q_half)
    {a}_integers = Floor ({a}_large_up)
    {a}_coarse = Div ({a}_integers, q_coarse)
    {a}_upper = Floor ({a}_coarse)
    {a}_upper_worth = Mul ({a}_upper, q_coarse)
    {a}_lower = Sub ({a}_integers, {a}_upper_worth)
    {a}_high = Cast <to = 1> ({a}_upper)
    {a}_low = Cast <to = 1> ({a}_lower)
"""
_ROUNDED = """
    {a}_low_half = Add ({a}_of_low, f_half)
    {a}_low_parts = Div ({a}_low_half, f_coarse)
    {a}_carried = Floor ({a}_low_parts)
    {a}_sum = Add ({a}_of_high, {a}_carried)
    {a}_parts = Div ({a}_sum, f_coarse)
    {a}_levels = Floor ({a}_parts)
"""
_WHOLE = """
<ir_version: {ir}, opset_import: ["" : {opset}]>
prepare (uint8[batch, height, width, {channels}] {given})
=> (float[batch, {channels}, {rows}, {columns}] q_images)
{{
    q_float = Cast <to = 1> ({given})
    q_planes = Transpose <perm = [0, 3, 1, 2]> (q_float)
    q_shape = Shape (q_planes)
    q_sides = Cast <to = 11> (q_shape)
    q_tall = Gather (q_sides, q_second)
    q_wide = Gather (q_sides, q_third)
{across}{down}
    x_high_across = Transpose <perm = [1, 0]> (x_high)
    x_low_across = Transpose <perm = [1, 0]> (x_low)
    x_of_high = MatMul (q_planes, x_high_across)
    x_of_low = MatMul (q_planes, x_low_across)
{across_rounded}
    y_of_high = MatMul (y_high, x_levels)
    y_of_low = MatMul (y_low, x_levels)
{down_rounded}
    q_scaled = Div (y_levels, q_white)
    q_centred = Sub (q_scaled, q_mean)
    q_images = Div (q_centred, q_std)
}}
"""


def preparation(content: bytes, given: Preprocessing) -> ModelProto:
    """The preparation alone: uint8 (batch, height, width, C) in, float32 (batch, C, rows, columns) out.

    Args:
        content: ONNX file that it is for, with operators of version 18 or later.
        given: size, mean and deviation of that file's input.
    """
    network = onnx.load_from_string(content)
    opset = next(one.version for one in network.opset_import if one.domain in ("", "ai.onnx"))
    rows, columns = given.height, given.width
    axes = {
        "across": {"a": "x", "side": "q_wide", "other": "q_tall", "ratio": "q_columns_over_rows"},
        "down": {"a": "y", "side": "q_tall", "other": "q_wide", "ratio": "q_rows_over_columns"},
    }
    text = _WHOLE.format(
        ir=network.ir_version,
        opset=opset,
        given=INPUT_NAME,
        channels=given.channels,
        rows=rows,
        columns=columns,
        across_rounded=_ROUNDED.format(a="x"),
        down_rounded=_ROUNDED.format(a="y"),
        **{name: _AXIS.format(**words) for name, words in axes.items()},
    )
    model = parser.parse_model(text)
    plane = (given.channels, 1, 1)
    doubles = {
        "q_zero": 0.0,
        "q_half": 0.5,
        "q_one": 1.0,
        "q_fine": 2.0**_BITS,
        "q_coarse": 2.0 ** (_BITS // 2),
        "q_columns_over_rows": columns / rows,
        "q_rows_over_columns": rows / columns,
        "x_size": float(columns),
        "y_size": float(rows),
        "x_outputs": np.arange(columns)[:, None] + 0.5,
        "y_outputs": np.arange(rows)[:, None] + 0.5,
    }
    floats = {
        "f_half": 2.0 ** (_BITS - 1),
        "f_coarse": 2.0 ** (_BITS // 2),
        "q_white": 255.0,
        "q_mean": np.reshape(given.mean, plane),
        "q_std": np.reshape(given.std, plane),
    }
    whole = {"q_last": [-1], "q_second": 2, "q_third": 3}
    constants = [
        (name, np.asarray(value, kind))
        for kind, values in ((np.float64, doubles), (np.float32, floats), (np.int64, whole))
        for name, value in values.items()
    ]
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants)
    return model


def with_preparation(content: bytes, given: Preprocessing) -> bytes:
    """An ONNX file with the preparation before its network.

    Args:
        content: file with one input, float32 (batch, C, rows, columns).
        given: size, mean and deviation of that input.

    Raises:
        ValueError: it takes another input, or cannot be joined with the preparation; says why.
    """
    network = onnx.load_from_string(content)
    first, wanted = preparation(content, given), (given.channels, given.height, given.width)
    axes = network.graph.input[0].type.tensor_type.shape.dim
    if (takes := tuple(axis.dim_value for axis in axes[1:])) != wanted:
        raise ValueError(f"images of {wanted} cannot be prepared for a file that takes {takes}")
    try:
        joined = compose.merge_models(first, network, io_map=[("q_images", network.graph.input[0].name)])
        onnx.checker.check_model(joined)
    except Exception as error:  # onnx has no exception class of its own for what it refuses
        raise ValueError(f"images cannot be prepared inside the file: {error}") from error
    return joined.SerializeToString(deterministic=True)


def run_pixels(content: bytes) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """What runs such a file in ONNX Runtime on one thread: pixels (N, H, W, C) in, its one output out."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = session.run(None, {INPUT_NAME: pixels})[0]
        return found

    return run
