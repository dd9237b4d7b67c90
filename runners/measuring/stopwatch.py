"""How long models take, measured side by side: the one piece of code that times anything here.

This file needs Python 3.9, numpy, ``results/timing.py`` and, for ONNX files, onnxruntime; no more. It runs
as a script too: the target of ONNX Runtime starts it in a process of its own (``stopwatch.py JOB.json
RESULT.json``), and a kit for another device carries it along. So a kit measures as we measure.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from results.timing import Timing, merge, not_measured

WARM_RUNS = 3  # after another model has run, weights come back into the caches within about three runs
BLOCK_RUNS = 5  # the least runs of a block, whatever it lasts
LEAST_ROUNDS = 8  # before stopping is considered, all processes together
MOST_PROCESSES = 5
PROCESS_S = 0.6  # of measuring, at least, for each process that is started


def interleave(
    runs: Sequence[Callable[[], object]],
    *,
    budget_s: float,
    half_width: float = 0.01,
    block_ms: float = 3.0,
    least_rounds: int = LEAST_ROUNDS,
    most_rounds: int = 200,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Timing]:
    """Times several models in rounds, each round one block of consecutive runs of every model.

    Going round means that a machine that slows down slows all of them. The half of the rounds in which
    all models together were slowest is set aside; what is reported is the median of the other half. Rounds
    go on until every median's 95 % interval is within ``half_width`` to either side, or the budget ends.

    Args:
        runs: one call each runs a model once.
        budget_s: seconds for all of them; ``least_rounds`` are made whatever they take.
        half_width: relative half width of the interval that is good enough.
        block_ms: how long a block lasts at least.
        least_rounds: rounds before stopping is considered.
        most_rounds: rounds at most.
        clock: seconds, monotonic; tests give their own.

    Returns:
        One timing per model; a run that raises is ``failed`` with what it said, and the rest go on.
    """
    end = clock() + budget_s
    failures: dict[int, str] = {}
    counts = [_block_length(run, block_ms, clock, failures, i) for i, run in enumerate(runs)]
    blocks: list[list[float]] = [[] for _ in runs]
    order = np.random.default_rng(0)  # which model follows which varies, so no one always finds warm caches
    for done in range(1, most_rounds + 1):
        for index in order.permutation(len(runs)):
            if index not in failures:
                try:
                    blocks[index].append(_block(runs[index], counts[index], clock))
                except Exception as error:
                    failures[index] = f"{type(error).__name__}: {error}"
        if done >= least_rounds and (clock() >= end or _narrow(settle(blocks), half_width)):
            break
    timings = settle(blocks)
    return [
        not_measured("failed", failures[i]) if i in failures else timing for i, timing in enumerate(timings)
    ]


def _block_length(
    run: Callable[[], object],
    block_ms: float,
    clock: Callable[[], float],
    failures: dict[int, str],
    index: int,
) -> int:
    """How many runs make a block; also the model's first runs, in which runtimes allocate and optimise."""
    try:
        for _ in range(WARM_RUNS):
            run()
        start = clock()
        run()
        seconds = clock() - start
    except Exception as error:
        failures[index] = f"{type(error).__name__}: {error}"
        return 0
    return max(BLOCK_RUNS, round(block_ms / 1e3 / max(seconds, 1e-7)))


def _block(run: Callable[[], object], count: int, clock: Callable[[], float]) -> float:
    """Median of consecutive warm runs, in ms."""
    for _ in range(WARM_RUNS):
        run()
    seconds = np.empty(count)
    for i in range(count):
        start = clock()
        run()
        seconds[i] = clock() - start
    return float(np.median(seconds)) * 1e3


def settle(blocks: Sequence[Sequence[float]]) -> list[Timing]:
    """The timings of models from their blocks, (models, rounds) in ms; models without full rounds get NaN."""
    rounds = max((len(row) for row in blocks), default=0)
    full = [row for row in blocks if len(row) == rounds and rounds]
    if not full:
        return [not_measured("failed", "no round was finished") for _ in blocks]
    times = np.array(full)  # (models, rounds)
    slowness = np.median(times / times.min(axis=1, keepdims=True), axis=0)
    kept = np.argsort(slowness, kind="stable")[: max(5, (rounds + 1) // 2)]
    return [
        _median(np.array(row)[kept]) if len(row) == rounds else not_measured("failed", "stopped running")
        for row in blocks
    ]


def processes(budget_s: float) -> int:
    """How many processes, one after another, share the time of a measurement.

    Where a process happens to lay its memory changes what a small model takes by up to a fifth, for as long
    as the process lives; several tell what is usual.
    """
    return max(1, min(MOST_PROCESSES, int(budget_s / PROCESS_S)))


def share(job: dict[str, Any]) -> dict[str, Any]:
    """The job of one of the processes that share a job."""
    count = processes(job["budget_s"])
    least = max(3, -(-LEAST_ROUNDS // count))
    return {**job, "budget_s": job["budget_s"] / count, "least_rounds": least}


def in_processes(job: dict[str, Any], run: Callable[[dict[str, Any]], list[Timing]]) -> list[Timing]:
    """One timing for each model of a job from several processes, one after another.

    Args:
        job: what all of them do together.
        run: does the share of one process, which it is given, in a process of its own.
    """
    shared = share(job)
    return merge([run(shared) for _ in range(processes(job["budget_s"]))])


def _median(values: np.ndarray[Any, np.dtype[np.float64]]) -> Timing:
    """Median with the 95 % interval that order statistics give, without assuming a distribution."""
    ordered, n = np.sort(values), len(values)
    reach = 0.98 * np.sqrt(n)  # 1.96 standard deviations of a binomial count of n/2
    low, high = max(0, int(np.floor(n / 2 - reach))), min(n - 1, int(np.ceil(n / 2 + reach)) - 1)
    return Timing(
        median_ms=float(np.median(ordered)),
        low_ms=float(ordered[low]),
        high_ms=float(ordered[high]),
        repeats=n,
    )


def _narrow(timings: Sequence[Timing], half_width: float) -> bool:
    return all(
        t.high_ms - t.low_ms <= 2 * half_width * t.median_ms for t in timings if t.status == "measured"
    )


def example_inputs(session: Any, batch: int) -> dict[str, np.ndarray[Any, Any]]:
    """An array for each input of an ONNX Runtime session: random numbers, or zeros where it takes integers.

    Raises:
        ValueError: an input that is no plain tensor of numbers.
    """
    generator = np.random.default_rng(0)
    types = {"float16": "float16", "float": "float32", "double": "float64", "bool": "bool"}
    types.update({f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)})
    arrays = {}
    for given in session.get_inputs():
        kind = types.get(given.type[len("tensor(") : -1])
        if kind is None:
            raise ValueError(f"input {given.name!r} is {given.type}, for which there is no example")
        shape = [size if isinstance(size, int) else batch for size in given.shape]
        values = generator.standard_normal(shape) if kind.startswith("float") else np.zeros(shape)
        arrays[given.name] = values.astype(kind)
    return arrays


def words_of(error: Exception) -> str:
    """What an error of the runtime says, in a line: without its codes and the places in its source."""
    text = (str(error).strip() or repr(error)).splitlines()[0]
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)
    text = re.sub(r"/onnxruntime_src/\S+:\d+ .*?\) (?=[A-Z])", "", text)
    return re.sub(r"^Load model from \S+ failed:\s*", "", text)[:500]


def onnx_run(model: str, threads: int, batch: int, config: dict[str, str]) -> Callable[[], object]:
    """A call that runs an ONNX file once, inputs and outputs bound so that nothing is copied."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    for key, value in config.items():
        options.add_session_config_entry(key, value)
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for name, values in example_inputs(session, batch).items():
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(values))
    for wanted in session.get_outputs():
        binding.bind_output(wanted.name)
    return lambda: session.run_with_iobinding(binding)


def onnx_load(model: str, job: dict[str, Any]) -> Callable[[], object]:
    """``onnx_run`` with the settings of a job."""
    return onnx_run(model, job["threads"], job["batch"], job["config"])


def measure_files(
    job: dict[str, Any], load: Callable[[str, dict[str, Any]], Callable[[], object]] = onnx_load
) -> list[Timing]:
    """Times the files of a job: models, threads, batch, cores, config, budget_s, half_width, least_rounds,
    block_ms.

    Args:
        job: table with these keys; a loader of another runtime than ONNX Runtime may read more.
        load: makes a call that runs a file once; what it raises is why the file is ``unsupported``.
    """
    if job["cores"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, job["cores"])
    if hasattr(os, "setpriority"):
        with contextlib.suppress(OSError):  # only root may; where it may, other programs disturb less
            os.setpriority(os.PRIO_PROCESS, 0, -20)
    timings: list[Timing | None] = []
    runs = []
    for model in job["models"]:
        try:
            runs.append(load(model, job))
            timings.append(None)
        except Exception as error:
            timings.append(not_measured("unsupported", words_of(error)))
    measured = iter(
        interleave(
            runs,
            budget_s=job["budget_s"],
            half_width=job["half_width"],
            least_rounds=job["least_rounds"],
            block_ms=job.get("block_ms", 3.0),
        )
    )
    return [next(measured) if timing is None else timing for timing in timings]


def measure_in_processes(job: dict[str, Any], folder: Path) -> list[Timing]:
    """Times the files of a job in several processes of this script; files between them lie in ``folder``.

    Raises:
        subprocess.CalledProcessError: a process died.
    """
    request, result = folder / "job.json", folder / "result.json"

    def run(part: dict[str, Any]) -> list[Timing]:
        request.write_text(json.dumps(part))
        subprocess.run([sys.executable, os.path.abspath(__file__), str(request), str(result)], check=True)
        return read_timings(result)

    timings = in_processes(job, run)
    request.unlink()
    result.unlink()
    return timings


def read_timings(path: Path) -> list[Timing]:
    """The timings that ``main`` wrote."""
    entries: list[dict[str, Any]] = json.loads(path.read_text())
    return [Timing(**entry) for entry in entries]


KIT_GROUP = 12  # models timed side by side


def measure_kit(folder: Path, group: int = KIT_GROUP) -> None:
    """Times the models of a kit and writes each group down before the next; goes on where it was stopped."""
    import onnxruntime

    kit = json.loads((folder / "kit.json").read_text())
    result = folder / "measured.jsonl"
    written = result.read_bytes() if result.exists() else b""
    whole = written[: written.rfind(b"\n") + 1]
    if whole != written:  # the last line was cut by a kill
        result.write_bytes(whole)
    lines = whole.decode().splitlines()
    done = {json.loads(line)["index"] for line in lines[1:]}
    todo = [i for i, model in enumerate(kit["models"]) if "file" in model and i not in done]
    with result.open("a") as file:
        if not lines:
            about = {
                "runtime": "onnxruntime",
                "runtime_version": onnxruntime.__version__,
                "threads": kit["threads"] or os.cpu_count() or 1,
                "machine": f"{platform.node()} x{os.cpu_count()} {platform.machine()} {platform.system()}",
            }
            file.write(json.dumps(about) + "\n")
        for start in range(0, len(todo), group):
            chosen = todo[start : start + group]
            job = {
                **{name: kit[name] for name in ("threads", "batch", "config")},
                "models": [str(folder / kit["models"][i]["file"]) for i in chosen],
                "cores": [],
                "budget_s": kit["seconds_each"] * len(chosen),
                "half_width": 0.01,
            }
            for i, timing in zip(chosen, measure_in_processes(job, folder)):  # noqa: B905 - Python 3.9 has no strict
                entry = {name: None if value != value else value for name, value in asdict(timing).items()}
                file.write(json.dumps({"index": i, **entry}) + "\n")
            file.flush()
            os.fsync(file.fileno())
            print(f"{start + len(chosen)} of {len(todo)} measured", flush=True)


def main(arguments: Sequence[str]) -> None:
    """Reads a job and writes its timings; without arguments, measures the kit this file lies in."""
    if not arguments:
        measure_kit(Path(__file__).resolve().parent)
        return
    job_path, result_path = arguments
    timings = measure_files(json.loads(Path(job_path).read_text()))
    Path(result_path).write_text(json.dumps([asdict(timing) for timing in timings]))


if __name__ == "__main__":
    main(sys.argv[1:])
