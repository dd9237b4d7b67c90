"""Several candidates of one step, each of which costs itself alone where it fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from compress.candidate import Candidate
from compress.failure import reason


def each(attempts: Mapping[str, Callable[[], Candidate | None]]) -> list[Candidate]:
    """The candidates that could be made; none where no attempt has anything to propose.

    Args:
        attempts: What makes each candidate, by the words that tell it from the others.

    Raises:
        ValueError: none could be made, as attempts failed; the message has the reason of each.
        OSError: the disk is full, or the target is gone.
    """
    candidates: list[Candidate] = []
    reasons: dict[str, str] = {}
    for words, attempt in attempts.items():
        try:
            if made := attempt():
                candidates.append(made)
        except Exception as error:  # whatever a strange network or library raises
            reasons[words] = reason(error)
    if reasons and not candidates:
        different = dict.fromkeys(reasons.values())
        told = [f"{words}: {why}" for words, why in reasons.items()] if len(different) > 1 else different
        raise ValueError("; ".join(told))
    return candidates
