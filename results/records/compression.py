"""What is written about a compression step, whether it was kept or undone."""

from __future__ import annotations

from dataclasses import dataclass

from results.codec import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord(Record):
    """One compression step on one network; a line of compress/steps.jsonl.

    Attributes:
        network: Name of the network.
        step: Name of the step.
        kept: Whether the step's result was taken over.
        reason: Why it was kept or undone, in words.
        proposal: Name of the proposal the numbers belong to, where the step had several.
        accuracy_before: Accuracy of the file before the step, on validation data, in [0, 1].
        accuracy_after: Accuracy of the proposed file, likewise; None where the step had nothing to propose.
        latency_ms_before: Median latency of the file before the step, measured in turns with the one after.
        latency_ms_after: Median latency of the proposed file; None where there is none.
        size_bytes_before: Size of the file before the step.
        size_bytes_after: Size of the proposed file; None where there is none.
        macs_before: Multiply-accumulates of the network for one input.
        macs_after: Multiply-accumulates of the proposed network; None where there is none.
        params_before: Parameters of the network.
        params_after: Parameters of the proposed network; None where there is none.
        seconds: Time the step took.
        why: Sentences on where the time of an undone proposal goes.
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
