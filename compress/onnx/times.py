"""Time by operator of an ONNX file, as ONNX Runtime's profiler sees it on this machine's CPU."""

from __future__ import annotations

import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.target import OperatorTime


def operator_times(
    path: Path,
    images: NDArray[np.float32] | Mapping[str, NDArray[Any]],
    *,
    runs: int = 100,
    budget_s: float = 2.0,
    threads: int = 1,
) -> tuple[OperatorTime, ...]:
    """Time by type of operator, longest first.

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
        events = json.loads(Path(session.end_profiling()).read_text())
    durations: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            durations[event["args"]["op_name"], event["name"]].append(event["dur"] / 1000)
    totals: defaultdict[str, list[float]] = defaultdict(list)
    for (operator, _), times in durations.items():
        counted = np.sort(times[len(times) // 2 :])
        undisturbed = counted[: max(1, len(counted) * 9 // 10)]
        totals[operator].append(float(undisturbed.mean()))  # a median of whole microseconds is too coarse
    return tuple(
        OperatorTime(operator=operator, nodes=len(times), latency_ms=sum(times))
        for operator, times in sorted(totals.items(), key=lambda item: -sum(item[1]))
    )
