"""What ``quarry compress-model`` does."""

from __future__ import annotations

from pathlib import Path

from results.records import CompressedModel
from runners.compressing.goal import Goal, UnreachableError
from runners.compressing.model import compress_model
from runners.compressing.options import Options
from runners.console import Console
from runners.given import load_network, load_weights


def compress_given(
    spec: str, *, weights: Path | None, data: str, goal: Goal, options: Options, out: Path
) -> None:
    """Compresses the model that a name stands for, and says what came out.

    Args:
        spec: ``path/to/file.py:function`` or ``package.module:name``.
        weights: safetensors file of its weights; None where the function gives it trained.
        data: labelled images.
        goal: what the file has to be.
        options: everything else.
        out: folder of the job.

    Raises:
        FileNotFoundError: no such file.
        ValueError: as ``load_network``, ``load_weights`` and ``compress_model``.
    """
    network = load_network(spec)
    if weights is not None:
        load_weights(network, weights.expanduser())
    try:
        done = compress_model(network, data, goal, options, out=out)
    except UnreachableError as error:
        if error.record is not None:
            tell(error.record, Console(out / "log.txt"))
        raise
    console = Console(out / "log.txt")
    tell(done.record, console)
    console.say(f"file:   {done.file}")
    console.say(f"report: {done.folder / 'report.html'}")


def tell(record: CompressedModel, console: Console) -> None:
    """The files that were handed over as a table, and the answer."""
    original = record.original
    rows = [
        [
            one.name,
            one.precision,
            f"{one.share:.1%}",
            f"{one.accuracy:.2%}",
            f"{one.latency_ms:.4g}",
            f"{original.latency_ms / one.latency_ms:.2f}",
            f"{one.size_bytes / 1000:.0f} kB",
            "missed" if one.missed else "met",
        ]
        for one in sorted(record.files, key=lambda one: one.latency_ms)
        if one.handed_over
    ]
    columns = ["file", "form", "channels", "accuracy", "ms", "as fast", "size", "goal"]
    console.table("The front, accuracy on validation data", columns, rows)
    if record.left:
        n = len(record.left)
        stay = "group of channels stays as it was" if n == 1 else "groups of channels stay as they were"
        console.say(f"{n} {stay}; the report says why")
    if record.met:
        console.say(f"{record.answer} meets the goal: {record.goal}")
