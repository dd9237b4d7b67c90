"""The colours of searchers and networks, the same wherever shown. Random search, the control, is grey."""

from __future__ import annotations

from collections.abc import Iterable

CONTROL = "random"
COLOURS = 6


def colours(searchers: Iterable[str]) -> dict[str, str]:
    """The style class of each searcher."""
    others = sorted(set(searchers) - {CONTROL})
    found = {name: f"c{place % COLOURS}" for place, name in enumerate(others)}
    return found | {CONTROL: "control"}


def called(searcher: str) -> str:
    """The name of a searcher in a legend."""
    return f"{searcher}, the control" if searcher == CONTROL else searcher


def of_size(network: str) -> str:
    """The style class of a network that is known by its size: the largest, the smallest, or another."""
    return {"largest": "c0", "smallest": "c1"}.get(network, "control")
