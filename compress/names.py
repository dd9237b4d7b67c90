"""Names of modules in a network."""

from __future__ import annotations

from collections.abc import Collection


def within(name: str, modules: Collection[str]) -> bool:
    """Whether a module is one of those named, or inside of one; the empty name is the whole network."""
    return any(not one or name == one or name.startswith(f"{one}.") for one in modules)
