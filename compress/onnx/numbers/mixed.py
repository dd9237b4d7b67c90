"""Layers that int8 pays for: what each loses by it and gains in time, and the best choice, found exactly.

The loss of a layer is the squared error of the network's outputs with that layer alone in int8, as a share
of the outputs' own squares; losses are taken to add up. The time is what the runtime's profiler says of the
layer in either format, and of the conversions where float meets int8. With both the choice is an integer
program, as in "HAWQ-V3: Dyadic Neural Network Quantization" (Yao et al., ICML 2021), section 3.3.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from scipy.optimize import Bounds, LinearConstraint, milp

from compress.onnx.layers import makers_of, weighted_nodes
from compress.onnx.numbers.integers import Initializers, integer_layers, spread
from compress.onnx.taps import tapped
from compress.onnx.times import node_times

PASSING = ("Relu", "Clip", "MaxPool", "Flatten", "Reshape", "Transpose", "Identity", "Squeeze", "Unsqueeze")
"""Operators that take either format and leave it as it is."""
FLOAT, INT8 = -1, -2
"""Ends of a meeting whose format is not open."""
_SOLVED, _IMPOSSIBLE = 0, 2  # what milp calls them


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerChoice:
    """A layer in float or in int8.

    Attributes:
        name: name of the layer.
        loss: what int8 loses, as above.
        float_ms: time in float.
        int8_ms: time in int8.
    """

    name: str
    loss: float
    float_ms: float
    int8_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Meeting:
    """A tensor between two operators; an end is a layer's index, or ``FLOAT`` or ``INT8`` for others.

    Attributes:
        maker: what makes it.
        reader: what reads it.
        to_int8_ms: time of its conversion to int8.
        to_float_ms: time of its conversion to float.
    """

    maker: int
    reader: int
    to_int8_ms: float
    to_float_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Layers in int8.

    Attributes:
        int8: their names.
        stays: names of those that stay float.
        loss: sum of losses.
        latency_ms: time of all layers and conversions.
    """

    int8: tuple[str, ...]
    stays: tuple[str, ...]
    loss: float
    latency_ms: float


def assign(
    layers: Sequence[LayerChoice],
    meetings: Sequence[Meeting],
    *,
    most_loss: float | None = None,
    latency_ms: float | None = None,
    budget_s: float = 20.0,
) -> Assignment:
    """The fastest choice with at most that loss, or the one with the least loss that is fast enough; exact.

    Args:
        layers: layers to choose formats for.
        meetings: tensors between them and others.
        most_loss: largest sum of losses; gives the fastest.
        latency_ms: largest time of all layers and conversions; gives the least loss.
        budget_s: seconds for the solver.

    Raises:
        ValueError: no choice is that fast; the message says what the fastest takes.
        TimeoutError: it was not solved to the end in time.
    """
    if (most_loss is None) == (latency_ms is None):
        raise ValueError("give either the largest loss or the largest latency")
    losses = np.array([one.loss for one in layers], float)
    times = np.array([one.int8_ms - one.float_ms for one in layers], float)
    constant = sum(one.float_ms for one in layers)
    extra: list[float] = []  # cost of each conversion that depends on two layers
    pairs: list[tuple[int, int]] = []  # it is needed where the first is int8 and the second float
    for one in meetings:
        for first, second, cost in (
            (one.reader, one.maker, one.to_int8_ms),
            (one.maker, one.reader, one.to_float_ms),
        ):
            if first < 0 and second < 0:
                constant += cost * (first == INT8 and second == FLOAT)
            elif second < 0:
                times[first] += cost * (second == FLOAT)
            elif first < 0:
                constant += cost * (first == INT8)
                times[second] -= cost * (first == INT8)
            else:
                pairs.append((first, second))
                extra.append(cost)
    n, m = len(layers), len(pairs)
    time_of, loss_of = np.concatenate([times, extra]), np.concatenate([losses, np.zeros(m)])
    rows = np.zeros((m, n + m))  # x_first - x_second <= y
    for index, (first, second) in enumerate(pairs):
        rows[index, first] += 1
        rows[index, second] -= 1
        rows[index, n + index] = -1
    goal, bound = (time_of, loss_of) if most_loss is not None else (loss_of, time_of)
    limit = most_loss if most_loss is not None else (latency_ms or 0.0) - constant
    # The solver's tolerances are absolute, and losses are small: both are counted in their largest number.
    unit = float(np.abs(bound).max(initial=0)) or 1.0
    goal, bound, limit = goal / (np.abs(goal).max(initial=0) or 1.0), bound / unit, limit / unit
    done = milp(
        goal + 1e-6 * bound,
        integrality=np.concatenate([np.ones(n), np.zeros(m)]),
        bounds=Bounds(0, 1),
        constraints=[
            LinearConstraint(bound[None], -np.inf, limit + 1e-9 * max(1.0, abs(limit))),
            *([LinearConstraint(rows, -np.inf, 0)] if m else []),
        ],
        options={"time_limit": budget_s, "mip_rel_gap": 0.0},
    )
    if done.status == _IMPOSSIBLE:
        fastest = assign(layers, meetings, most_loss=float(losses.sum()), budget_s=budget_s)
        raise ValueError(
            f"no choice of formats takes {latency_ms:.4g} ms; the fastest takes {fastest.latency_ms:.4g} ms"
        )
    if done.status != _SOLVED:
        raise TimeoutError(f"the choice of formats was not solved in {budget_s:g} s")
    chosen = done.x[:n] > 0.5
    converted = [chosen[first] and not chosen[second] for first, second in pairs]
    return Assignment(
        int8=tuple(one.name for one, is_int8 in zip(layers, chosen, strict=True) if is_int8),
        stays=tuple(one.name for one, is_int8 in zip(layers, chosen, strict=True) if not is_int8),
        loss=float(losses[chosen].sum()),
        latency_ms=float(constant + time_of @ np.concatenate([chosen, converted])),
    )


def losses(source: ModelProto, made: ModelProto, images: NDArray[np.float32]) -> dict[str, float]:
    """What each layer of a quantized file loses, by name: the outputs' relative squared error with it alone.

    Args:
        source: float file.
        made: the same, quantized.
        images: images to run, float32 (N, ...).
    """
    held = Initializers(made)
    (output,) = [entry.name for entry in source.graph.output]
    right = np.concatenate([values[output] for values in tapped(source, [output], images)])
    size = max(float((right.astype(np.float64) ** 2).sum()), 1e-30)
    nodes = {one.name: one for one in weighted_nodes(source)}
    found = {}
    for one in integer_layers(made):
        if one.name not in nodes or not one.input_scale:
            continue
        alone = ModelProto()
        alone.CopyFrom(source)
        node = next(node for node in alone.graph.node if node.output == nodes[one.name].node.output)
        weight = (held[one.layer.weight] * spread(held[one.scale], one.layer)).astype(np.float32)
        _round_in_place(alone, node, weight, held[one.input_scale], held[one.input_zero])
        got = np.concatenate([values[output] for values in tapped(alone, [output], images)])
        found[one.name] = float(((got.astype(np.float64) - right) ** 2).sum()) / size
    return found


def _round_in_place(
    model: ModelProto,
    node: NodeProto,
    weight: NDArray[np.float32],
    scale: NDArray[np.float32],
    zero: NDArray[Any],
) -> None:
    """Has one node of a float file compute with a rounded weight on rounded inputs."""
    names = [f"rounded_{part}" for part in ("scale", "zero", "whole", "input", "weight")]
    values = (scale, zero, weight)
    for name, array in zip((*names[:2], names[4]), values, strict=True):
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    at = list(model.graph.node).index(node)
    model.graph.node.insert(at, helper.make_node("QuantizeLinear", [node.input[0], *names[:2]], names[2:3]))
    model.graph.node.insert(at + 1, helper.make_node("DequantizeLinear", [names[2], *names[:2]], names[3:4]))
    changed = model.graph.node[at + 2]
    changed.input[0], changed.input[1] = names[3], names[4]


def choices(
    file: Path, quantized: Path, loss: Mapping[str, float], image: NDArray[np.float32], *, threads: int = 1
) -> list[LayerChoice]:
    """The layers that both files time, with what each loses.

    Args:
        file: float file.
        quantized: the same with all of them in int8.
        loss: losses by name.
        image: one call's input.
        threads: threads of the runtime.
    """
    times = [
        {node.layer: node.latency_ms for node in node_times(path, image, threads=threads) if node.outputs}
        for path in (file, quantized)
    ]
    return [
        LayerChoice(name=name, loss=value, float_ms=times[0][name], int8_ms=times[1][name])
        for name, value in loss.items()
        if name in times[0] and name in times[1]
    ]


def others_ms(file: Path, image: NDArray[np.float32], *, threads: int = 1) -> float:
    """Time of the operators of a file that have no weights."""
    return sum(node.latency_ms for node in node_times(file, image, threads=threads) if not node.outputs)


def meetings_of(
    model: ModelProto,
    layers: Sequence[LayerChoice],
    int8_operators: Collection[str],
    image: NDArray[np.float32],
    conversion: tuple[float, float],
) -> list[Meeting]:
    """The tensors of a float file at which a layer's format meets another's.

    Args:
        model: float file.
        layers: layers whose format is open.
        int8_operators: types of other operators that are int8; the rest is float.
        image: one call's input.
        conversion: ms of a conversion, and ms more for each number in it.
    """
    index = {one.name: at for at, one in enumerate(layers)}
    by_output = {one.node.output[0]: index[one.name] for one in weighted_nodes(model) if one.name in index}
    held = {entry.name for entry in model.graph.initializer}
    makers = makers_of(model)

    def end_of(node: NodeProto, output: str) -> int:
        return by_output.get(output, INT8 if node.op_type in int8_operators else FLOAT)

    def maker(name: str) -> int:
        node = makers.get(name)
        while node is not None and node.op_type in PASSING:
            name = node.input[0]
            node = makers.get(name)
        return FLOAT if node is None else end_of(node, name)

    found: dict[tuple[int, int, str], None] = {}
    for node in model.graph.node:
        reader = end_of(node, node.output[0])
        if node.op_type in PASSING or node.op_type == "Constant":
            continue
        for name in node.input:
            if name and name not in held:
                made = maker(name)
                if max(made, reader) >= 0:
                    found[made, reader, name] = None
    for entry in model.graph.output:
        if (made := maker(entry.name)) >= 0:
            found[made, FLOAT, entry.name] = None
    sizes = _sizes(model, {name for _, _, name in found}, image)
    fixed, each = conversion
    return [
        Meeting(maker=made, reader=reader, to_int8_ms=cost, to_float_ms=cost)
        for made, reader, name in found
        for cost in (fixed + each * sizes[name],)
    ]


def _sizes(model: ModelProto, names: Collection[str], image: NDArray[np.float32]) -> dict[str, int]:
    (values,) = list(tapped(model, sorted(names), image, len(image)))
    return {name: array.size for name, array in values.items()}


def conversion_ms(folder: Path, *, threads: int = 1) -> tuple[float, float]:
    """Time of a conversion to int8 or back on this machine: fixed, and for each number.

    Args:
        folder: folder for two small files.
        threads: threads of the runtime.
    """
    sizes, times = (1_000, 200_000), []
    for size in sizes:
        path = folder / f"conversion_{size}.onnx"
        path.write_bytes(_conversion(size).SerializeToString())
        nodes = node_times(path, np.ones((1, size), np.float32), threads=threads)
        times.append(float(np.mean([node.latency_ms for node in nodes])))
    each = max(0.0, (times[1] - times[0]) / (sizes[1] - sizes[0]))
    return max(0.0, times[0] - each * sizes[0]), each


def _conversion(size: int) -> ModelProto:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size]) for name in ("x", "y")]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    held = [
        numpy_helper.from_array(np.float32(0.1), "scale"),
        numpy_helper.from_array(np.uint8(3), "zero"),
    ]
    graph = helper.make_graph(nodes, "conversion", ends[:1], ends[1:], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
