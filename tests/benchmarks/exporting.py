"""What a free batch costs in an ONNX file, and how long exporters take: ours beside the alternatives.

    python -m tests.benchmarks.exporting

A minute on one core. For each network the files of four exporters run in turns in ONNX Runtime, one thread,
batch 1; printed are nodes, seconds to export, and latency over that of the file with a fixed batch.
"""

from __future__ import annotations

import io
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn

from compress.onnx.export import OPSET, onnx_bytes
from compress.onnx.fuse import fuse
from runners.measuring.stopwatch import interleave, onnx_run
from search_spaces.mixers import Attention
from search_spaces.spaces.presets import preset

Shape = tuple[int, ...]
SHAPES = {"digits": (1, 8, 8), "cifar": (3, 32, 32)}


def networks() -> dict[str, tuple[nn.Module, Shape]]:
    """A layer, and the networks of one mixer of two presets."""
    found: dict[str, tuple[nn.Module, Shape]] = {"attention, 64 x 4 x 4": (Attention(64).eval(), (64, 4, 4))}
    for name, shape in SHAPES.items():
        for mixer in ("attention", "depthwise"):
            space = preset(name, classes=10, input_shape=shape, mixers=[mixer])
            found[f"{name}, all {mixer}"] = (space.build(space.largest()).eval(), shape)
    return found


def by_torch(network: nn.Module, shape: Shape, **how: Any) -> bytes:
    """One of torch's exporters as it is, after folding."""
    file = io.BytesIO()
    batch = 1 if how == {"dynamo": False} else 2
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            fuse(network),
            (torch.zeros(batch, *shape),),
            None if how["dynamo"] else file,  # type: ignore[arg-type]
            opset_version=OPSET,
            input_names=["images"],
            verbose=False,
            **how,
        )
    return program.model_proto.SerializeToString() if program is not None else file.getvalue()


EXPORTERS: dict[str, Callable[[nn.Module, Shape], bytes]] = {
    "fixed batch": lambda network, shape: by_torch(network, shape, dynamo=False),
    "free, as traced": lambda network, shape: by_torch(
        network, shape, dynamo=False, dynamic_axes={"images": {0: "batch"}}
    ),
    "ours": onnx_bytes,
    "torch.export": lambda network, shape: by_torch(
        network, shape, dynamo=True, dynamic_shapes=({0: torch.export.Dim("batch")},)
    ),
}


def main() -> None:
    """Prints a line for each network and exporter."""
    torch.set_num_threads(1)
    for name, (network, shape) in networks().items():
        runs, lines = [], []
        with tempfile.TemporaryDirectory() as folder:
            for title, exporter in EXPORTERS.items():
                start = time.perf_counter()
                content = exporter(network, shape)
                seconds, file = time.perf_counter() - start, Path(folder) / "model.onnx"
                nodes = len(onnx.load_from_string(content).graph.node)
                file.write_bytes(content)
                runs.append(onnx_run(str(file), 1, 1, {}))
                lines.append(f"{title:16}{nodes:4} nodes, {seconds:5.2f} s")
        timings = interleave(runs, budget_s=4, half_width=0.003)
        for line, timing in zip(lines, timings, strict=True):
            print(f"{name:24}{line}, {timing.median_ms / timings[0].median_ms:.3f}", flush=True)


if __name__ == "__main__":
    main()
