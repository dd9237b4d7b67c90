"""Why a file that should be faster is not: what the runtime spends its time on, before and after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from compress.onnx.times import OperatorTime, operator_times
from compress.pruning.prune import COUNTS
from results.records import Record

CONVERSIONS = ("QuantizeLinear", "DequantizeLinear", "Cast")
LAYOUT = ("Transpose", "ReorderInput", "ReorderOutput", "Reshape", "Squeeze", "Unsqueeze")
_INT8_PREFIXES = ("QLinear", "QGemm", "QAttention", "DynamicQuantize", "MatMulInteger", "ConvInteger")
_LISTED = 4
_WORTH_SAYING = 0.05  # of the latency


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation(Record):
    """Where the time goes in two files, and what follows from it.

    Attributes:
        before: time by operator of the file that was there.
        after: of the one that was meant to be faster.
        sentences: in order of weight.
    """

    before: tuple[OperatorTime, ...]
    after: tuple[OperatorTime, ...]
    sentences: tuple[str, ...]


def explain(
    before: Path, after: Path, images: NDArray[np.float32], *, channel_step: int = COUNTS, threads: int = 1
) -> Explanation:
    """Profiles two files on this machine and says in words what eats the gain.

    Args:
        before: the file that was there.
        after: the one that was meant to be faster.
        images: one call's input, float32 (B, ...).
        channel_step: the device runs at full speed on channel counts that are multiples of this.
        threads: given to the runtime.

    Raises:
        ValueError: the runtime cannot run one of the files.
    """
    old = operator_times(before, images, threads=threads)
    new = operator_times(after, images, threads=threads)
    total = sum(entry.latency_ms for entry in new)
    sentences = [
        *_growth(old, new, total),
        *_share(new, total, CONVERSIONS, "is spent on conversions between float and int8"),
        *_share(new, total, LAYOUT, "is spent on moving data into another layout"),
        *_left_float(new, total),
        *_odd_channels(after, channel_step),
    ]
    return Explanation(before=old, after=new, sentences=tuple(sentences))


def _growth(old: Sequence[OperatorTime], new: Sequence[OperatorTime], total: float) -> list[str]:
    """The operators that take more time than before, all forms of one operator together."""
    earlier, later = _by_kind(old), _by_kind(new)
    grown = {kind: time - earlier.get(kind, 0.0) for kind, time in later.items()}
    worst = sorted(
        (kind for kind in grown if grown[kind] > _WORTH_SAYING * total), key=lambda kind: -grown[kind]
    )
    return [
        f"{kind} takes {later[kind]:.3f} ms where it took {earlier.get(kind, 0.0):.3f} ms"
        for kind in worst[:_LISTED]
    ]


def _by_kind(times: Sequence[OperatorTime]) -> dict[str, float]:
    kinds: dict[str, float] = {}
    for entry in times:
        kind = entry.operator.removeprefix("QLinear").removeprefix("Fused")
        kind = {"QGemm": "Gemm", "NhwcConv": "Conv"}.get(kind, kind)
        kinds[kind] = kinds.get(kind, 0.0) + entry.latency_ms
    return kinds


def _share(new: Sequence[OperatorTime], total: float, operators: Sequence[str], what: str) -> list[str]:
    found = [entry for entry in new if entry.operator in operators]
    time = sum(entry.latency_ms for entry in found)
    if time <= _WORTH_SAYING * total:
        return []
    listed = ", ".join(f"{entry.nodes} {entry.operator}" for entry in found)
    return [f"{time / total:.0%} of the time ({time:.3f} ms) {what}: {listed}"]


def _left_float(new: Sequence[OperatorTime], total: float) -> list[str]:
    """Operators that a quantized graph still runs in float."""
    if not any(entry.operator.startswith(_INT8_PREFIXES) for entry in new):
        return []
    passing = (*CONVERSIONS, *LAYOUT)
    left = [
        entry
        for entry in new
        if not entry.operator.startswith(_INT8_PREFIXES) and entry.operator not in passing
    ]
    time = sum(entry.latency_ms for entry in left)
    if time <= _WORTH_SAYING * total:
        return []
    listed = ", ".join(f"{entry.nodes} {entry.operator}" for entry in left[:_LISTED])
    return [
        f"{time / total:.0%} of the time ({time:.3f} ms) is spent on operators that stayed float: {listed}"
    ]


def _odd_channels(path: Path, step: int) -> list[str]:
    """Convolutions whose output channels are not a multiple of the device's step."""
    graph = onnx.load(str(path)).graph
    shapes = {entry.name: tuple(entry.dims) for entry in graph.initializer}
    made_by = {output: node for node in graph.node for output in node.output}
    odd: Counter[int] = Counter()
    for node in graph.node:
        if node.op_type != "Conv":
            continue
        weight = node.input[1]
        if weight in made_by:  # int8 weights come through a DequantizeLinear
            weight = made_by[weight].input[0]
        channels = shapes.get(weight, (0,))[0]
        if channels % step:
            odd[channels] += 1
    if not odd:
        return []
    listed = ", ".join(f"{count} with {channels}" for channels, count in odd.most_common(_LISTED))
    return [f"{odd.total()} convolutions have channel counts that are not multiples of {step}: {listed}"]
