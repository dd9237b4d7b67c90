"""What a search over number formats needs of the other sections of a recipe."""

from __future__ import annotations

from collections.abc import Collection

_CHOOSING = ("mixed_precision", "quantize_aware")


def refuse_precisions(ranking: str, gate: float | None, steps: Collection[str]) -> None:
    """Raises a ValueError where ``space.precisions`` does not go with how networks are ranked or compressed.

    Args:
        ranking: ``search.ranking``.
        gate: ``search.gate``.
        steps: names of the compression steps.
    """
    if ranking != "shared" or gate is not None:
        raise ValueError(
            "space.precisions: number formats are searched with shared weights: search.ranking has to be "
            "shared, without search.gate, which may rank networks alone"
        )
    if "quantize" not in steps:
        raise ValueError(
            "space.precisions: the step quantize makes the files of the formats that were chosen, so name it "
            "in compress.steps"
        )
    if own := [name for name in _CHOOSING if name in steps]:
        raise ValueError(
            f"space.precisions: the search has chosen the formats, and {' and '.join(own)} would choose "
            f"again; leave {'it' if len(own) == 1 else 'them'} out of compress.steps"
        )
