"""One model through several runtimes: which should a person use?"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx
from torch import nn

from compress.target import TakesOnnx, Target
from results.timing import Timing, merge, not_measured
from runners.measuring.machine import cores
from runners.tables.analysis import with_shape
from runners.targets.hardware import PRECISIONS, HardwareProfile
from runners.targets.onnx_format import onnx_bytes
from runners.targets.profile import load_profile, shipped_profiles
from runners.targets.target import open_target

BATCHES, THREADS = (1, 8), (1, 0)
"""Images in a call, and threads, that each runtime is tried with; 0 is all of them."""
_ROUNDS = 3  # over all runtimes, so that a machine that slows down slows all of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A model in one runtime, number format, number of threads and batch.

    Attributes:
        runtime: library with its version.
        profile: name of the profile that stands for it.
        precision: number format of the file; below fp32 ranges are made up, and accuracy is not known.
        threads: threads it uses.
        batch: images in a call.
        timing: latency of a call; why not, where it does not run.
        size_bytes: size of the file; 0 where there is none.
    """

    runtime: str
    profile: str
    precision: str
    threads: int
    batch: int
    timing: Timing
    size_bytes: int


def profiles_here() -> tuple[list[HardwareProfile], dict[str, str]]:
    """The shipped profiles that this machine can measure, one for each runtime, and why not the others.

    Profiles that compute latencies, or that measure elsewhere, are left out.
    """
    able: dict[str, HardwareProfile] = {}
    unable: dict[str, str] = {}
    for name in shipped_profiles():
        profile = load_profile(name)
        try:
            facts = open_target(profile).facts
        except (ValueError, OSError) as error:
            unable[name] = str(error)
            continue
        if facts.local and not facts.computed and profile.threads == 1:
            able.setdefault(facts.runtime, profile)
    return list(able.values()), unable


def compare(
    model: Path | nn.Module,
    profiles: Sequence[HardwareProfile],
    *,
    input_shape: tuple[int, ...] | None = None,
    batches: Sequence[int] = BATCHES,
    threads: Sequence[int] = THREADS,
    precisions: Sequence[str] = PRECISIONS,
    seconds_each: float = 1.0,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[Tried]:
    """Measures a model in each runtime and each number format that it has, in rounds over all of them.

    A runtime's own words tell what it cannot do; that is a row that is not measured, and ends nothing.

    Args:
        model: an ONNX file, or a network.
        profiles: what to measure on; threads, batch and precisions are those below.
        input_shape: shape without the batch, for a network, or for a file that leaves it open.
        batches: images in a call; a file that fixes them is measured with its own number alone.
        threads: threads; 0 takes all cores.
        precisions: number formats to try.
        seconds_each: seconds of measuring for each row.
        progress: called with the number of measurements made so far, and how many there are.

    Raises:
        ValueError: no input shape where one is needed, or a network that cannot be exported.
    """
    usable = list(dict.fromkeys(count or len(cores()) for count in threads))
    with tempfile.TemporaryDirectory(prefix="quarry-") as name:
        folder = Path(name)
        source = _source(model, input_shape, folder)
        network = model if isinstance(model, nn.Module) else None
        tried = [fixed] if (fixed := _fixed_batch(source)) else batches
        rows: list[_Row] = []
        for place, profile in enumerate(profiles):
            for precision in precisions:
                file = folder / f"{place}-{precision}"
                rows += _rows(profile, precision, source, network, input_shape, file, tried, usable)
        groups: dict[tuple[str, int, int], list[_Row]] = {}  # number formats of one runtime, side by side
        for row in rows:
            if row.file is not None:
                groups.setdefault((row.tried.profile, row.tried.threads, row.tried.batch), []).append(row)
        for turn in range(_ROUNDS):
            for index, group in enumerate(groups.values()):
                budget_s = seconds_each * len(group) / _ROUNDS
                files = [row.file for row in group if row.file is not None]
                for row, timing in zip(group, group[0].target.measure(files, budget_s=budget_s), strict=True):
                    row.timings.append(timing)
                progress(turn * len(groups) + index + 1, _ROUNDS * len(groups))
    return [
        replace(row.tried, timing=merge([[one] for one in row.timings])[0]) if row.timings else row.tried
        for row in rows
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A row in the making.

    Attributes:
        target: target that measures it.
        file: its file; None where there is none.
        tried: what is known of it before it is measured.
        timings: one of each round.
    """

    target: Target
    file: Path | None
    tried: Tried
    timings: list[Timing] = field(default_factory=list)


def _source(model: Path | nn.Module, input_shape: tuple[int, ...] | None, folder: Path) -> Path:
    """The model as a float ONNX file with its sizes known but for the batch, where that is open."""
    source = folder / "given.onnx"
    if isinstance(model, Path):
        source.write_bytes(with_shape(model, input_shape, None))
    elif input_shape is None:
        raise ValueError("a network needs its input shape, for instance --input 3x224x224")
    else:
        source.write_bytes(onnx_bytes(model, input_shape))
    return source


def _fixed_batch(source: Path) -> int:
    """Images in a call that a file fixes; 0 where it takes any number, or cannot be read."""
    try:
        graph = onnx.load(source, load_external_data=False).graph
    except Exception:  # each runtime says in its own words what is wrong with it
        return 0
    weights = {tensor.name for tensor in graph.initializer}
    sizes = [given.type.tensor_type.shape.dim for given in graph.input if given.name not in weights]
    return next((axes[0].dim_value for axes in sizes if len(axes)), 0)


def _rows(
    profile: HardwareProfile,
    precision: str,
    source: Path,
    network: nn.Module | None,
    input_shape: tuple[int, ...] | None,
    stem: Path,
    batches: Sequence[int],
    threads: Sequence[int],
) -> Iterator[_Row]:
    """The rows of a runtime and a number format, with their files; none where it has no such format."""
    problems: dict[Path, str] = {}  # of files that were tried
    for batch in batches:
        for count in threads:
            update = {"threads": count, "batch": batch, "precisions": (precision,)}
            try:
                target = open_target(profile.model_copy(update=update))
            except ValueError:  # the runtime has no such number format
                return
            facts, takes = target.facts, isinstance(target, TakesOnnx)
            # What comes of an ONNX file takes any batch; a program is compiled for its own, and its threads.
            own = "" if takes else f"-{batch}-{count}"
            file = stem.with_name(f"{stem.name}{own}.{facts.format}")
            if file not in problems:
                problems[file] = _written(target, precision, source, network, input_shape, file)
            tried = Tried(
                runtime=f"{facts.runtime} {facts.runtime_version}",
                profile=profile.name,
                precision=precision,
                threads=count,
                batch=batch,
                timing=not_measured("unsupported", problems[file]),
                size_bytes=0 if problems[file] else file.stat().st_size,
            )
            yield _Row(target=target, file=None if problems[file] else file, tried=tried)


def _written(
    target: Target,
    precision: str,
    source: Path,
    network: nn.Module | None,
    input_shape: tuple[int, ...] | None,
    file: Path,
) -> str:
    """Writes the file of a target; why there is none, in words."""
    try:
        if isinstance(target, TakesOnnx):
            target.take_onnx(source, file, precision=precision)
        elif network is None or input_shape is None:
            return "it takes no ONNX files; give it a network as module:function"
        else:
            target.export(network, input_shape, file, precision=precision)
    except ValueError as error:
        return str(error)
    return ""


def lines(rows: Sequence[Tried]) -> list[str]:
    """The rows as text, the fastest first within each number of threads and batch; then the advice."""
    said = []
    for threads, batch in dict.fromkeys((row.threads, row.batch) for row in rows):
        said.append(f"{threads} thread{'s' if threads > 1 else ''}, batch {batch}:")
        here = [row for row in rows if (row.threads, row.batch) == (threads, batch)]
        for row in sorted(here, key=lambda row: (row.timing.status != "measured", row.timing.median_ms)):
            timing, name = row.timing, f"{row.runtime} {row.precision}"
            said.append(
                f"  {name:<44} {timing.median_ms:>9.4g} ms  ({timing.low_ms:.4g} to {timing.high_ms:.4g}), "
                f"{row.size_bytes / 1000:.0f} kB"
                if timing.status == "measured"
                else f"  {name:<44} {timing.status}: {timing.reason}"
            )
    return [*said, *(f"- {one}" for one in advice(rows))]


def advice(rows: Sequence[Tried]) -> list[str]:
    """The fastest runtime for each number of threads and batch, in sentences."""
    said = []
    for threads, batch in dict.fromkeys((row.threads, row.batch) for row in rows):
        here = [row for row in rows if (row.threads, row.batch) == (threads, batch)]
        ran = sorted(
            (row for row in here if row.timing.status == "measured"), key=lambda row: row.timing.median_ms
        )
        if not ran:
            continue
        where = f"{threads} thread{'s' if threads > 1 else ''}, batch {batch}"
        floats = [row for row in ran if row.precision == "fp32"]
        if floats:
            first, *others = floats
            close = [row for row in others if row.timing.low_ms <= first.timing.high_ms]
            also = f"; {' and '.join(row.runtime for row in close)} cannot be told from it" if close else ""
            said.append(f"{where}: {first.runtime} is the fastest in fp32{also}")
        best = ran[0]
        if floats and best.precision != "fp32" and best.timing.high_ms < floats[0].timing.low_ms:
            gain = floats[0].timing.median_ms / best.timing.median_ms
            said.append(
                f"{where}: {best.runtime} in {best.precision} is {gain:.2f} times as fast; a run says "
                "what that costs of accuracy"
            )
    return said
