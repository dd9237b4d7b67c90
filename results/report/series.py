"""The colour of each searcher, the same wherever it is shown. Random search, the control, is grey."""

from __future__ import annotations

from collections.abc import Iterable

CONTROL = "random"
COLOURS = 6


def colours(searchers: Iterable[str]) -> dict[str, str]:
    """The style class of each searcher."""
    others = sorted(set(searchers) - {CONTROL})
    found = {name: f"c{place % COLOURS}" for place, name in enumerate(others)}
    return found | {CONTROL: "control"}
