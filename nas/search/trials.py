"""The log of trials, which outlives a kill: one line each, on the disk before the next begins."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from results.files import append_line, read_json, read_lines, write_json
from results.records import Trial


class TrialLog:
    """The trials of one search as a file of lines, with what is searched in a JSON file beside it.

    Args:
        path: file of the log; None keeps nothing.
        identity: description of the search; a log of another search is refused.

    Raises:
        ValueError: the file at ``path`` belongs to another search; the message says what differs.
    """

    def __init__(self, path: Path | None, identity: Mapping[str, Any]) -> None:
        self.path = path
        self.trials: list[Trial] = []
        if path is None:
            return
        description = path.with_suffix(".json")
        identity = json.loads(json.dumps(identity))
        lines = list(read_lines(path))
        if lines and not description.exists():
            raise ValueError(
                f"{path} has trials, but {description.name} is not beside it; delete or restore it"
            )
        if lines:
            _same(path, read_json(description), identity)
        else:
            write_json(description, identity)
        try:
            self.trials = [Trial.from_json(line) for line in lines]
        except ValueError as error:
            raise ValueError(
                f"{path} is not a log of trials ({error}); restore it, or delete it to start anew"
            ) from error

    def append(self, trial: Trial) -> None:
        """Writes a trial to the disk before returning."""
        self.trials.append(trial)
        if self.path is not None:
            append_line(self.path, trial.to_json())


def _same(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    differing = [key for key in wanted if found.get(key) != wanted[key]]
    if differing:
        told = "; ".join(f"{key} was {found.get(key)!r}, now {wanted[key]!r}" for key in differing)
        raise ValueError(
            f"{path} is the log of another search ({told}). Delete it to start anew, or give another path."
        )


def finite(numbers: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of a mapping, as plain floats: what JSON can hold."""
    return {name: float(value) for name, value in numbers.items() if math.isfinite(value)}
