"""What is written about a compression step, whether it was kept or undone."""

from __future__ import annotations

from dataclasses import dataclass

from results.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressionStep(Record):
    """One step on one network.

    Attributes:
        network: name of the network.
        step: name of the step.
        kept: whether its result was taken over.
        reason: why or why not, in words.
        proposal: which of the step's proposals the numbers belong to, where it had several.
        accuracy_before: of the file before, on validation data, in [0, 1].
        accuracy_after: of the proposed file; None where the step had nothing to propose.
        latency_ms_before: median, measured with the one after, interleaved.
        latency_ms_after: None where the step had nothing to propose.
        size_bytes_before: of the file.
        size_bytes_after: likewise.
        macs_before: multiply-accumulates for one input.
        macs_after: likewise.
        params_before: parameters of the network.
        params_after: likewise.
        seconds: what the step took.
        why: where the time of the proposal goes, in sentences, if it was undone.
    """

    network: str
    step: str
    kept: bool
    reason: str
    proposal: str
    accuracy_before: float
    accuracy_after: float | None
    latency_ms_before: float
    latency_ms_after: float | None
    size_bytes_before: int
    size_bytes_after: int | None
    macs_before: int
    macs_after: int | None
    params_before: int
    params_after: int | None
    seconds: float
    why: tuple[str, ...] = ()
