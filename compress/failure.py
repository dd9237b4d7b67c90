"""What a step raised, as the reason for which it comes to nothing."""

from __future__ import annotations


class UnusableError(ValueError):
    """The network that compression begins with cannot be exported, counted or run."""


_OF_A_STEP = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)
"""Errors of the system that a step brings about itself."""


def reason(error: Exception) -> str:
    """The error in words.

    Raises:
        OSError: the error itself, where the disk is full or the target is gone: of no step's making.
    """
    if isinstance(error, ValueError):  # what steps, exporters and targets raise where they cannot
        return str(error)
    if isinstance(error, OSError) and not isinstance(error, _OF_A_STEP):
        raise error
    return f"failed: {str(error).strip() or 'no message'} ({type(error).__name__})"
