"""A way from the first layer to the last that saves enough time at the least loss, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_UNITS = 2000  # of time, into which what is to be saved is divided


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSpan:
    """What some neighbouring layers may become.

    Attributes:
        begin: Number of the first layer.
        end: Number behind the last layer.
        loss: Loss of it.
        saved: Time that it saves, not below zero.
    """

    begin: int
    end: int
    loss: float
    saved: float


def cheapest_spans(spans: Sequence[LayerSpan], layers: int, needed: float) -> list[int]:
    """Numbers of the spans that together cover all layers and save enough, at the least loss.

    Dynamic programming over layers and time saved, as in "LayerMerge: Neural Network Depth Compression
    through Layer Pruning and Merging" (Kim et al., ICML 2024), equation 5; exact to 1/2000 of the time.

    Args:
        spans: Spans to choose from.
        layers: Number of layers.
        needed: Time to be saved.

    Raises:
        ValueError: no choice saves that much.
    """
    unit = max(needed, 1e-12) / _UNITS
    best: list[dict[int, tuple[float, tuple[int, ...]]]] = [{} for _ in range(layers + 1)]
    most = [float("-inf")] * (layers + 1)
    best[0], most[0] = {0: (0.0, ())}, 0.0
    for number, span in sorted(enumerate(spans), key=lambda one: (one[1].end, one[1].begin)):
        after = best[span.end]
        most[span.end] = max(most[span.end], most[span.begin] + span.saved)
        for units, (loss, chosen) in best[span.begin].items():
            reached = min(_UNITS, units + int(span.saved / unit + 1e-9))
            offer = (loss + span.loss, (*chosen, number))
            if reached not in after or offer[0] < after[reached][0]:
                after[reached] = offer
    if most[layers] < needed:
        raise ValueError(f"all of them together save {most[layers]:.4g} of {needed:.4g}")
    enough = max(best[layers])  # all of what is needed, or as near as rounding down lets it come
    return list(best[layers][enough][1])
