"""The record of compression: one for each step, whether it was kept or undone."""

from __future__ import annotations

from dataclasses import dataclass

from results.records.codec import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord(Record):
    """One compression step on one network; a line of compress/steps.jsonl.

    Attributes:
        network: name of the network.
        step: name of the step.
        kept: whether the step's result was taken over.
        reason: why it was kept or undone, in words.
        candidate: words for the candidate the numbers belong to, where the step had several.
        accuracy_before: accuracy of the file before the step, on validation data, in [0, 1].
        accuracy_after: accuracy of the candidate's file, likewise; None where there is none.
        latency_ms_before: median latency of the file before the step, measured in turns with the one after.
        latency_ms_after: median latency of the candidate's file; None where there is none.
        size_bytes_before: size of the file before the step.
        size_bytes_after: size of the candidate's file; None where there is none.
        macs_before: multiply-accumulates of the network for one input.
        macs_after: multiply-accumulates of the candidate's network; None where there is none.
        params_before: parameters of the network.
        params_after: parameters of the candidate's network; None where there is none.
        seconds: time the step took.
        why: sentences on where the time of an undone candidate goes.
    """

    network: str
    step: str
    kept: bool
    reason: str
    candidate: str
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

    @property
    def speedup(self) -> float:
        """Latency before the step over latency after it; 1 where the step had nothing to propose."""
        return self.latency_ms_before / self.latency_ms_after if self.latency_ms_after else 1.0
