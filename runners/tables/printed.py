"""What tools print about the models of a kit: benchncnn, LiteRT's benchmark_model, ExecuTorch's runner.

Who has a device with none of Python converts the files of a kit with the tools of its runtime, runs those
tools there, and brings back what they printed: it becomes the ``measured.jsonl`` of the kit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from results.files import read_json, write_atomic
from results.timing import Timing, not_measured

_NORMAL_95 = 1.96  # standard errors either way of a mean
_NCNN_STEP_MS = 0.01  # of what benchncnn prints

_NCNN_LINE = re.compile(
    r"^\s*(\S+)\s+min =\s*([\d.]+)\s+max =\s*([\d.]+)\s+avg =\s*([\d.]+)\s*$", re.MULTILINE
)
_NCNN_LOOPS = re.compile(r"^loop_count = (\d+)\s*$", re.MULTILINE)
_NCNN_THREADS = re.compile(r"^num_threads = (\d+)\s*$", re.MULTILINE)
_LITERT_GRAPH = re.compile(r"Graph: \[(.+?)\]")
_LITERT_RUNS = re.compile(
    r"count=(\d+) .*?min=([\d.e+]+) max=([\d.e+]+) avg=([\d.e+]+)(?:.*?std=([\d.e+]+))?"
)
_LITERT_THREADS = re.compile(r"(?:Num threads|#threads used for CPU inference): \[(\d+)\]")
_EXECUTORCH_FILE = re.compile(r"Model file (\S+) is loaded")
_EXECUTORCH_RUNS = re.compile(r"Model executed successfully (\d+) time\(s\) in ([\d.]+) ms")
_EXECUTORCH_THREADS = re.compile(r"threadpool with num threads = (\d+)")
_VERSION = {"ncnn": "as printed, in half precision where the processor has it"}  # benchncnn asks for that


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """What a tool printed.

    Attributes:
        runtime: Runtime whose tool it was.
        threads: Threads as the tool says; None where it does not.
        timings: Latency of each model, by the name of its file without folder and ending.
    """

    runtime: str
    threads: int | None
    timings: dict[str, Timing]


def read_printed(text: str) -> Printed:
    """The latencies in what one of the tools printed, for one model or for many after one another.

    Of benchncnn the mean counts and the interval is that of all runs; of benchmark_model the mean of the
    measured runs with its standard errors; of executor_runner the mean, which has no interval.

    Raises:
        ValueError: it is the output of none of the tools, of models that all failed, or has a latency of 0.
    """
    readers: dict[str, tuple[Callable[[str], Iterator[tuple[str, Timing]]], re.Pattern[str]]] = {
        "ncnn": (_ncnn, _NCNN_THREADS),
        "litert": (_litert, _LITERT_THREADS),
        "executorch": (_executorch, _EXECUTORCH_THREADS),
    }
    for runtime, (read, told) in readers.items():
        timings = {PurePosixPath(name).stem: timing for name, timing in read(text)}
        if timings:
            threads = {int(found) for found in told.findall(text)}
            if len(threads) > 1:
                raise ValueError(
                    f"runs with {' and '.join(map(str, sorted(threads)))} threads are no one table"
                )
            return Printed(runtime=runtime, threads=next(iter(threads), None), timings=timings)
    raise ValueError(
        "there is no latency of benchncnn (name min = max = avg =), LiteRT's benchmark_model (Graph: [...], "
        "count= avg=) or ExecuTorch's executor_runner (Model executed successfully N time(s) in T ms)"
    )


def _ncnn(text: str) -> Iterator[tuple[str, Timing]]:
    loops = _NCNN_LOOPS.search(text)
    for name, low, high, mean in _NCNN_LINE.findall(text):
        if not float(mean):
            raise ValueError(
                f"of {name} benchncnn prints 0.00 ms: it takes less than the tool can tell, as single layers "
                "do; bring whole networks, of a kit that is made with --networks 10"
            )
        least = max(float(low), min(float(mean), _NCNN_STEP_MS) / 2)  # 0.00 is up to half a step
        yield name, _timing(float(mean), least, float(high), int(loops[1]) if loops else 1)


def _litert(text: str) -> Iterator[tuple[str, Timing]]:
    """The last line of runs before the summary is that of the measured ones.

    Those before it are of the warm-up, those behind it of the profiler, if that was asked for.
    """
    _, *rest = _LITERT_GRAPH.split(text)
    for name, output in zip(rest[::2], rest[1::2], strict=True):
        before, _, summary = output.partition("timings in us")
        runs = _LITERT_RUNS.findall(before)
        if runs and "nference" in summary:
            count, low, high, mean, deviation = runs[-1]
            error = _NORMAL_95 * float(deviation) / int(count) ** 0.5 if deviation else 0.0
            mean_ms, error_ms = float(mean) / 1e3, error / 1e3
            low_ms = max(float(low) / 1e3, mean_ms - error_ms) if deviation else float(low) / 1e3
            high_ms = min(float(high) / 1e3, mean_ms + error_ms) if deviation else float(high) / 1e3
            yield name, _timing(mean_ms, low_ms, high_ms, int(count))


def _executorch(text: str) -> Iterator[tuple[str, Timing]]:
    _, *rest = _EXECUTORCH_FILE.split(text)
    for name, output in zip(rest[::2], rest[1::2], strict=True):
        if found := _EXECUTORCH_RUNS.search(output):
            mean_ms = float(found[2]) / int(found[1])
            yield name, _timing(mean_ms, mean_ms, mean_ms, int(found[1]))


def _timing(mean_ms: float, low_ms: float, high_ms: float, runs: int) -> Timing:
    """Means are rounded when they are printed: the interval holds them at least."""
    return Timing(median_ms=mean_ms, low_ms=min(low_ms, mean_ms), high_ms=max(high_ms, mean_ms), repeats=runs)


def take_printed(kit: Path, printed: Path, machine: str) -> Printed:
    """Writes what a tool printed as what a kit's device measured, ``measured.jsonl``.

    Args:
        kit: folder of the kit, whose models have the names ``0``, ``1``, ... in whatever format.
        printed: text file with the output of the tool.
        machine: name of the device, for the table.

    Raises:
        FileNotFoundError: no such kit or text.
        ValueError: no machine, a text without latencies or of other models, other threads than the kit's, or
            of single images where the kit has several in a call.
    """
    if not machine:
        raise ValueError(
            'what a tool printed does not say on what it ran; name it, as in --machine "Pixel 8"'
        )
    if not (kit / "kit.json").is_file():
        raise FileNotFoundError(f"{kit} is no kit: it has no kit.json")
    if not printed.is_file():
        raise FileNotFoundError(f"there is no file {printed}")
    job = read_json(kit / "kit.json")
    try:
        found = read_printed(printed.read_text(errors="replace"))
    except ValueError as error:
        raise ValueError(f"{printed}: {error}") from error
    known = {str(index) for index, entry in enumerate(job["models"]) if "file" in entry}
    strange = sorted(set(found.timings) - known)
    if strange:
        raise ValueError(
            f"{printed} has a latency of {strange[0]!r}, which is no model of {kit}; they are called as in "
            f"models/, 0 to {len(job['models']) - 1}"
        )
    if job["threads"] and found.threads not in (None, job["threads"]):  # 0 takes all, however many those are
        raise ValueError(
            f"{printed} is of {found.threads} threads and {kit} of {job['threads']}; run the tool with those"
        )
    if found.runtime == "ncnn" and job["batch"] > 1:
        raise ValueError(
            f"benchncnn runs one image at a time, and {kit} is for {job['batch']} in a call; make a kit of a "
            "profile whose batch is 1"
        )
    lost = not_measured("failed", f"there is no latency of it in what the tool of {found.runtime} printed")
    header = {
        "runtime": found.runtime,
        "runtime_version": _VERSION.get(found.runtime, "as printed"),
        "threads": found.threads or job["threads"],
        "machine": machine,
    }
    lines = [header, *(_line(int(name), found.timings.get(name, lost)) for name in sorted(known, key=int))]
    write_atomic(kit / "measured.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    return found


def _line(index: int, timing: Timing) -> dict[str, object]:
    """A line of ``measured.jsonl``, whose times are null where there are none."""
    return {
        "index": index,
        **{name: None if value != value else value for name, value in asdict(timing).items()},
    }
