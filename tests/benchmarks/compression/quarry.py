"""Quarry's way: ``compress_model`` with a speed-up as the goal, and nothing chosen by hand."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from runners.compressing.goal import Goal, UnreachableError
from runners.compressing.model import compress_model
from tests.benchmarks.compression.results import QUARRY, Answer
from tests.benchmarks.compression.setting import Bench


def answer(bench: Bench, network: nn.Module, factor: float, spent_s: Callable[[], float]) -> Answer:
    """The answer of one goal. All goals of a network share a folder, and what one trained serves the next.

    Args:
        bench: what both sides are given.
        network: the trained network.
        factor: times as fast that the file is to be.
        spent_s: gives the processor seconds spent on this goal so far, over all attempts at it.

    Raises:
        UnreachableError: no share of the channels is fast enough.
    """
    out = bench.folder / "quarry"
    try:
        record = compress_model(network, bench.source, Goal(speedup=factor), bench.options, out=out).record
    except UnreachableError as error:
        if error.record is None:
            raise
        record = error.record
    found = next(one for one in record.files if one.name == record.answer)
    # What another goal hands over next may not be this: the file is kept apart.
    kept = out.parent / "answers" / f"{factor:g}.onnx"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes((out / "artifacts" / found.name / "model.onnx").read_bytes())
    return Answer(
        side=QUARRY,
        factor=factor,
        file=str(kept),
        precision=found.precision,
        share=found.share,
        macs=found.macs,
        validation=found.accuracy,
        within=record.met,
        cpu_s=spent_s(),
    )
