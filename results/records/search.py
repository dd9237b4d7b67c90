"""What a search found: the networks of the front, and their layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from results.codec import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRecord(Record):
    """One layer of a lowered network, for drawing it and for showing where its time goes.

    Attributes:
        name: place in the network.
        kind: what it is, such as "depthwise".
        sizes: what it was built with: channels, kernel, ratio, ...
        output_shape: without the batch, (C, H, W) for maps.
        latency_ms: median of the layer alone in the cost table; None where it has none.
    """

    name: str
    kind: str
    sizes: dict[str, Any]
    output_shape: tuple[int, ...]
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontEntry(Record):
    """A network of the front, measured again on the device as an exported file.

    Attributes:
        name: of the network; its artifact has the same.
        arch: choice names to values.
        searcher: who found it.
        accuracy: on the validation data that the search scored on, with inherited weights.
        predicted_ms: by the cost model.
        upper_ms: upper bound of the prediction at the run's confidence.
        measured_ms: median on the device.
        low_ms: lower end of the interval of that median.
        high_ms: upper end.
        macs: multiply-accumulates.
        params: parameters.
        meets_limit: as measured.
        layers: in order of execution; empty where the space has only a model to build.
        held_back_accuracy: on the validation data that no searcher saw; None where none were held back.
    """

    name: str
    arch: dict[str, Any]
    searcher: str
    accuracy: float
    predicted_ms: float
    upper_ms: float
    measured_ms: float
    low_ms: float
    high_ms: float
    macs: int
    params: int
    meets_limit: bool
    layers: tuple[LayerRecord, ...] = ()
    held_back_accuracy: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSummary(Record):
    """What the search found; search/front.json.

    Attributes:
        limit_ms: the latency limit.
        confidence: at which predictions had to be under it, in (0, 1).
        reference: (accuracy, latency_ms) that bounds the hypervolume: of the control's median network, and
            the limit.
        front: networks in order of latency.
        largest: the largest network of the space, measured beside them.
        scored_images: validation images that the search scored on.
        held_back_images: validation images that no searcher saw.
        known_first: of every searcher's trials but the control's, how many were the best known from
            earlier searches of the same supernet.
        schema: of this record.
    """

    limit_ms: float
    confidence: float
    reference: tuple[float, float]
    front: tuple[FrontEntry, ...]
    largest: FrontEntry
    scored_images: int = 0
    held_back_images: int = 0
    known_first: int = 0
    schema: int = 1

    def validation_accuracy(self, entry: FrontEntry) -> float:
        """Accuracy of a network on all validation images, those held back included."""
        if entry.held_back_accuracy is None:
            return entry.accuracy
        right = entry.accuracy * self.scored_images + entry.held_back_accuracy * self.held_back_images
        return right / (self.scored_images + self.held_back_images)
