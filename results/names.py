"""How an unknown name is reported: with the nearest valid one and the full list."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def unknown(kind: str, name: object, valid: Iterable[object]) -> str:
    """The message for a name that is not among the valid ones.

    Args:
        kind: what the name stands for ("mixer", "choice", "recipe key").
        name: the name that was given.
        valid: every name that would be right.
    """
    names = [str(option) for option in valid]
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"unknown {kind} {name!r}.{hint} Valid: {', '.join(names) if names else '(none)'}."
