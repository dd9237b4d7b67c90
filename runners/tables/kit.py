"""A kit for a device without PyTorch: the layers and networks as files, and one script that measures them.

The script is ``stopwatch.py``, the one we measure with, beside the one module it imports; it needs Python,
numpy and onnxruntime. What it writes there is brought back and imported as a table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from nas.costs.layers.probes import Probe
from nas.costs.table.build import Export
from nas.costs.table.table import COLUMNS, LatencyTable, TableHeader, read_header, with_chains
from results.files import read_json, read_lines, write_atomic, write_json
from runners.measuring import stopwatch
from runners.measuring.carried import carry_stopwatch
from runners.targets.hardware import HardwareProfile

KIT_RUNTIMES = ("onnxruntime", "remote")  # whose files and clock a kit has
START_S = 1.0  # of Python with numpy and ONNX Runtime, on a small device
README = """\
Copy this folder to the device and run there, with Python, numpy and onnxruntime installed:

    python measure.py

It measures {count} models in about {minutes:.0f} minutes and writes measured.jsonl beside itself;
stopped, it goes on where it was. Bring measured.jsonl back into this folder and run:

    {back}
"""
_BACK = "quarry measure import {name} --out RUN"
_BACK_FEW = "quarry table transfer TABLE... --measured {name} --run RUN"


def write_kit(
    folder: Path,
    probes: Sequence[Probe],
    header: TableHeader,
    profile: HardwareProfile,
    *,
    export: Export,
    seconds_each: float = 0.4,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Path:
    """Writes a kit.

    Args:
        folder: made anew; must not hold anything.
        probes: what the device is to measure.
        header: header of the table to be; runtime and machine are filled in there.
        profile: threads, batch and session options, of a runtime that is ONNX Runtime.
        export: exporter to ONNX.
        seconds_each: time budget of a model.
        progress: told models exported and models in all.

    Raises:
        ValueError: the folder holds something already.
        OSError: it cannot be written.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty; a kit needs a folder of its own")
    (folder / "models").mkdir(parents=True)
    models: list[dict[str, Any]] = []
    for index, probe in enumerate(probes):
        entry: dict[str, Any] = {
            "kind": probe.kind,
            "key": probe.key,
            "input": "x".join(map(str, probe.input_shape)),
            "occasion": probe.occasion,
        }
        try:
            export(probe.make(), probe.input_shape, folder / "models" / f"{index}.onnx")
            entry["file"] = f"models/{index}.onnx"
        except ValueError as error:
            entry["refused"] = str(error)
        models.append(entry)
        progress(index + 1, len(probes))
    job = {
        "header": asdict(header),
        "models": models,
        "threads": profile.threads,
        "batch": profile.batch,
        "config": profile.runtime.settings.get("options") or {},
        "seconds_each": seconds_each,
    }
    write_json(folder / "kit.json", job)
    carry_stopwatch(folder, "measure.py")
    minutes = kit_seconds(len(probes), seconds_each) / 60
    whole = any(probe.kind == "layer" for probe in probes)
    back = (_BACK if whole else _BACK_FEW).format(name=folder.name)
    write_atomic(folder / "README.txt", README.format(count=len(probes), minutes=minutes + 0.5, back=back))
    return folder


def kit_seconds(count: int, seconds_each: float) -> float:
    """About how long a kit takes: to load, warm and run the models, and to start processes."""
    groups = -(-count // stopwatch.KIT_GROUP)
    starts = groups * stopwatch.processes(seconds_each * min(count, stopwatch.KIT_GROUP))
    return 1.2 * seconds_each * count + START_S * starts


def read_kit(folder: Path) -> LatencyTable:
    """The table that a kit's device measured.

    Raises:
        FileNotFoundError: it was not run, or its result was not brought back.
        ValueError: files that do not belong together.
    """
    job: dict[str, Any] = read_json(folder / "kit.json")
    result = folder / "measured.jsonl"
    if not result.exists():
        raise FileNotFoundError(
            f"there is no {result}; run measure.py of this kit on the device and bring the file back"
        )
    lines = list(read_lines(result))
    if not lines or "runtime_version" not in lines[0]:
        raise ValueError(f"{result} does not begin with what measured it; run measure.py on the device again")
    timings = {line["index"]: line for line in lines[1:]}
    header = replace(read_header(job["header"]), **lines[0])
    rows = [
        _row(entry, timings.get(index))
        for index, entry in enumerate(job["models"])
        if index in timings or "refused" in entry
    ]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    times = ["median_ms", "low_ms", "high_ms"]
    frame = with_chains(frame.assign(**{name: frame[name].astype(float) for name in times}))
    return LatencyTable(header=header, lines=frame)


def _row(entry: dict[str, Any], timing: dict[str, Any] | None) -> dict[str, Any]:
    place = {name: entry[name] for name in ("kind", "key", "input", "occasion")}
    if timing is None:
        nan = float("nan")
        return {
            **place,
            "median_ms": nan,
            "low_ms": nan,
            "high_ms": nan,
            "repeats": 0,
            "status": "unsupported",
            "reason": entry["refused"],
        }
    return {**place, **{name: timing[name] for name in COLUMNS[4:]}}
