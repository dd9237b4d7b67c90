"""Unknown names, as they are reported: with the nearest valid one and the full list."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def unknown(kind: str, name: object, valid: Iterable[object]) -> str:
    """The message for a name that is not among the valid ones.

    Args:
        kind: thing that the name stands for ("mixer", "choice", "recipe key").
        name: name that was given.
        valid: every name that would be right.
    """
    names = [str(option) for option in valid]
    return f"unknown {kind} {name!r}.{did_you_mean(name, names)} Valid: {', '.join(names) or '(none)'}."


def did_you_mean(name: object, valid: Iterable[object]) -> str:
    """The question for the nearest valid name, after a blank; empty where none is near."""
    close = difflib.get_close_matches(str(name), [str(option) for option in valid], n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""
