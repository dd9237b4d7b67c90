"""What a stage raised that is no sentence yet: which stage, whose code, where, and how to go on."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path
from types import FrameType

import results
from runners.run.stages import RunStage

_OURS = Path(results.__file__).resolve().parents[1]
_LIBRARIES = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib"))


class StageError(ValueError):
    """A stage failed on what a user's code or a library raised."""


def in_words(error: Exception, stage: RunStage) -> Exception:
    """The error as a sentence that names the stage, the place and the way out.

    Errors that are sentences already are returned as they are: those of values and of the system.
    """
    if isinstance(error, (ValueError, OSError, MemoryError)):
        return error
    said = str(error).strip() or "no message"
    where = _in_the_users_code(error)
    way_out = (
        "mend it and run the same command again: what was done is kept, and it goes on from there"
        if where
        else "this looks like a bug; --debug shows where it comes from. What was done is kept"
    )
    place = f", raised in {where}" if where else ""
    return StageError(
        f"{stage.title} (stage {stage.name}) failed: {type(error).__name__}: {said}{place}; {way_out}"
    )


def _in_the_users_code(error: Exception) -> str:
    """The innermost place that is neither ours nor a library's; empty where there is none."""
    found = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = Path(frame.f_code.co_filename)
        if file.is_file() and not _of_a_library(file.resolve()):
            found = f"{_called(frame)} ({file.name}, line {line})"
    return found


def _of_a_library(file: Path) -> bool:
    if any(file.is_relative_to(place) for place in _LIBRARIES):
        return True
    ours = ("results", "search_spaces", "nas", "compress", "runners")
    return any(file.is_relative_to(_OURS / name) for name in ours)


def _called(frame: FrameType) -> str:
    name, owner = frame.f_code.co_name, frame.f_locals.get("self")
    return name if owner is None else f"{name} of {type(owner).__name__}"
