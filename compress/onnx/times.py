"""Time by node and by operator of an ONNX file, as ONNX Runtime's profiler sees it on this machine's CPU."""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto

from compress.onnx.layers import WeightedNode, layer_name, makers_of, weighted_nodes
from compress.target import OperatorTime

Inputs = NDArray[np.float32] | Mapping[str, NDArray[Any]]

_ADDED = re.compile(r"(_nchwc|_token_\d+|_transformed|/duplicated|_fused)+$")
_FAR = 4  # nodes that the runtime fuses into one at most


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTime:
    """A node as the runtime runs it after its own fusions.

    Attributes:
        layer: name of what it is in the file: the layer whose weights it reads, else the node's.
        operator: type, in the runtime's words.
        shape: shape of its first output, in the runtime's layout.
        number_format: numbers of its first output, such as ``float`` or ``uint8``.
        outputs: output channels of its weight; 0 for a node without one.
        macs: multiply-accumulates by its weight in this run.
        latency_ms: time of one run.
    """

    layer: str
    operator: str
    shape: tuple[int, ...]
    number_format: str = "float"
    outputs: int = 0
    macs: int = 0
    latency_ms: float


def node_times(
    path: Path, images: Inputs, *, runs: int = 100, budget_s: float = 2.0, threads: int = 1
) -> tuple[NodeTime, ...]:
    """Time of each node, in the order in which they run.

    Profiling itself takes time, so the sum is above the latency of the file; shares are what to read.

    Args:
        path: the file.
        images: one call's input, float32 (B, ...); of a file with several, each by its name.
        runs: runs at most; the first half of them warms up and is not counted.
        budget_s: seconds after which no run is begun.
        threads: threads of the runtime.

    Raises:
        ValueError: the runtime cannot run the file.
    """
    events = _profile(path, images, runs, budget_s, threads)
    durations: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    made: dict[tuple[str, str], tuple[str, tuple[int, ...]]] = {}  # what each puts out
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            key = event["args"]["op_name"], event["name"].removesuffix("_kernel_time")
            durations[key].append(event["dur"] / 1000)
            ((number_format, sizes),) = (event["args"].get("output_type_shape") or [{"": ()}])[0].items()
            made[key] = number_format, tuple(sizes)
    names = _Names(onnx.load(str(path), load_external_data=False))
    found = []
    for (operator, name), times in durations.items():
        counted = np.sort(times[len(times) // 2 :])
        undisturbed = counted[: max(1, len(counted) // 2)]  # a median of whole microseconds is too coarse
        layer, weighted = names.behind(operator, name)
        number_format, shape = made[operator, name]
        found.append(
            NodeTime(
                layer=layer,
                operator=operator,
                shape=shape,
                number_format=number_format,
                outputs=weighted.outputs if weighted else 0,
                macs=weighted.macs_for(prod(shape)) if weighted else 0,
                latency_ms=float(undisturbed.mean()),
            )
        )
    return tuple(found)


def operator_times(
    path: Path, images: Inputs, *, runs: int = 100, budget_s: float = 2.0, threads: int = 1
) -> tuple[OperatorTime, ...]:
    """Time by type of operator, longest first; arguments and errors as ``node_times`` has them."""
    return by_operator(node_times(path, images, runs=runs, budget_s=budget_s, threads=threads))


def by_operator(nodes: tuple[NodeTime, ...]) -> tuple[OperatorTime, ...]:
    """Times of nodes summed by type of operator, longest first."""
    totals: defaultdict[str, list[float]] = defaultdict(list)
    for node in nodes:
        totals[node.operator].append(node.latency_ms)
    return tuple(
        OperatorTime(operator=operator, nodes=len(times), latency_ms=sum(times))
        for operator, times in sorted(totals.items(), key=lambda item: -sum(item[1]))
    )


def _profile(path: Path, images: Inputs, runs: int, budget_s: float, threads: int) -> list[dict[str, Any]]:
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        try:
            session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            inputs = images if isinstance(images, Mapping) else {session.get_inputs()[0].name: images}
            began, done = time.perf_counter(), 0
            while done < 2 or (done < runs and time.perf_counter() - began < budget_s):
                session.run(None, dict(inputs))
                done += 1
        except Exception as error:  # the runtime's exception classes share no base but Exception
            raise ValueError(f"{path} cannot be timed by operator in ONNX Runtime: {error}") from error
        events: list[dict[str, Any]] = json.loads(Path(session.end_profiling()).read_text())
    return events


class _Names:
    """What the nodes that a runtime made by fusion are in the file.

    It calls them by the node they came from or by the tensor they make; behind a convolution with an
    activation in it that is the activation's.
    """

    def __init__(self, model: ModelProto) -> None:
        self._makers = makers_of(model)
        self._nodes = {node.name: node for node in model.graph.node if node.name}
        self._weighted = {tuple(one.node.output): one for one in weighted_nodes(model)}
        self._taken: set[tuple[str, ...]] = set()

    def behind(self, operator: str, name: str) -> tuple[str, WeightedNode | None]:
        """Name for people, and the node with weights where it is one."""
        bare = _ADDED.sub("", name)
        node = self._nodes.get(bare) or self._makers.get(bare)
        if node is None:
            return bare, None
        if any(kind in operator for kind in ("Conv", "Gemm", "MatMul")):
            found = self._nearest(node)
            if found is not None:
                self._taken.add(tuple(found.node.output))
                return found.name, found
        return layer_name(node), None

    def _nearest(self, node: NodeProto) -> WeightedNode | None:
        level = [node]
        for _ in range(_FAR):
            for one in level:
                key = tuple(one.output)
                if key in self._weighted and key not in self._taken:
                    return self._weighted[key]
            level = [self._makers[name] for one in level for name in one.input if name in self._makers]
        return None
