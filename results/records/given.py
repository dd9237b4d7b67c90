"""The records of compressing a model that one has already."""

from __future__ import annotations

from dataclasses import dataclass

from results.records.codec import Record

GIVEN = "compress/model.json"
"""The record of a compressed model in the folder of its job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftAlone(Record):
    """Channels of a model that cannot be cut.

    Attributes:
        layer: layer whose output channels they are.
        channels: how many there are.
        reason: reason in words.
    """

    layer: str
    channels: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenFile(Record):
    """A file that a model was made into; latencies were measured side by side.

    Attributes:
        name: name of the file's artifact.
        precision: number format.
        share: share of the channels that was asked to be kept; 1 where nothing was cut.
        accuracy: accuracy on validation data, in [0, 1].
        latency_ms: median latency of a call.
        low_ms: lower end of the interval of that median.
        high_ms: upper end of the interval of that median.
        size_bytes: size.
        macs: multiply-accumulates for one input.
        params: parameters.
        missed: parts of the goal that it misses, in words.
        handed_over: whether it is among the artifacts: no other file is better in one respect and no worse
            in the others, and it is the network it came from.
    """

    name: str
    precision: str
    share: float
    accuracy: float
    latency_ms: float
    low_ms: float
    high_ms: float
    size_bytes: int
    macs: int
    params: int
    missed: tuple[str, ...]
    handed_over: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressedModel(Record):
    """The result of compressing a model; compress/model.json.

    Attributes:
        goal: goal in words.
        latency_ms: latency limit; None where the goal has none.
        answer: name of the file that meets the goal, or of the nearest.
        met: whether it does.
        files: files that were made, the model as it is first.
        left: channels that could not be cut, with reasons.
        schema: form of this record.
    """

    goal: str
    latency_ms: float | None
    answer: str
    met: bool
    files: tuple[GivenFile, ...]
    left: tuple[LeftAlone, ...]
    schema: int = 1

    @property
    def original(self) -> GivenFile:
        """The model as it is."""
        return self.files[0]
