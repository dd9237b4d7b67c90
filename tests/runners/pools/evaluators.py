"""Evaluators for the workers of the tests; the arch says what happens."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from nas.search.pool import Evaluate
from search_spaces.space import Arch

BIG = 50_000_000  # float32: 200 MB


def plain(arrays: Mapping[str, NDArray[Any]]) -> Evaluate:
    """Scores 10 times x, and knows the ways in which an evaluation goes wrong."""
    del arrays

    def evaluate(arch: Arch) -> dict[str, float]:
        what = arch.get("what", "")
        once = Path(str(arch.get("once", "")))
        if what == "raise":
            raise KeyError("no such mixer")
        if what == "nan":
            return {"accuracy": float("nan")}
        if what == "kill" or (what == "kill once" and _first(once)):
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "hang" or (what == "hang once" and _first(once)):
            time.sleep(600)
        time.sleep(float(arch.get("seconds", 0.0)))
        return {"accuracy": 10.0 * float(arch["x"])}

    return evaluate


def _first(mark: Path) -> bool:
    if mark.exists():
        return False
    mark.touch()
    return True


def broken(arrays: Mapping[str, NDArray[Any]]) -> Evaluate:
    raise FileNotFoundError(f"no images among {sorted(arrays)}")


def dying(arrays: Mapping[str, NDArray[Any]]) -> Evaluate:
    del arrays
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def memory(arrays: Mapping[str, NDArray[Any]]) -> Evaluate:
    """Reads the whole array, waits until ``workers`` have done so, then reports what that added in memory."""
    weights = arrays["weights"]

    def evaluate(arch: Arch) -> dict[str, float]:
        meeting = Path(str(arch["meeting"]))
        before = _memory_mb()
        total = float(weights.sum())
        (meeting / f"read-{arch['x']}").touch()
        _wait_for(meeting, "read-*", int(arch["workers"]))
        added = {name: now - before[name] for name, now in _memory_mb().items()}
        scores = {"sum": total, "writeable": float(weights.flags.writeable), **added}
        (meeting / f"told-{arch['x']}").touch()
        _wait_for(meeting, "told-*", int(arch["workers"]))  # nobody lets go before all have looked
        return scores

    return evaluate


def _wait_for(meeting: Path, pattern: str, count: int) -> None:
    end = time.monotonic() + 60
    while len(list(meeting.glob(pattern))) < count:
        assert time.monotonic() < end, f"only {len(list(meeting.glob(pattern)))} of {count} came"
        time.sleep(0.05)


def _memory_mb() -> dict[str, float]:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    fields = {line.split(":")[0]: float(line.split()[1]) / 1024 for line in lines}
    return {"resident_mb": fields["Rss"], "proportional_mb": fields["Pss"]}


def on_node(arrays: Mapping[str, NDArray[Any]]) -> Evaluate:
    """Says which node scored."""
    import ray

    node = int(ray.get_runtime_context().get_node_id()[:8], 16)
    weights = arrays["weights"]

    def evaluate(arch: Arch) -> dict[str, float]:
        time.sleep(0.2)
        return {"accuracy": float(weights[int(arch["x"])]), "node": float(node)}

    return evaluate
