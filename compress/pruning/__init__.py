"""Structured pruning: what can be cut, what of it matters least, and how much each layer loses."""

from __future__ import annotations

from compress.pruning import allocation, criteria

__all__ = ["allocation", "criteria"]
