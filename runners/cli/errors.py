"""Errors of commands in words."""

from __future__ import annotations

_DISK_FULL = "No space left on device"  # also inside the errors of libraries that write for us


def usage(error: Exception) -> str:
    """What was wrong with the command line itself: click's errors, which Typer brings under its own name."""
    told = getattr(error, "format_message", None)
    return str(told()) if told else ""


def describe(error: Exception) -> str:
    """An error in words for the terminal."""
    if wrong := usage(error):
        return f"{wrong.rstrip('.')}. See: quarry --help"
    if _DISK_FULL in str(error):
        filename = getattr(error, "filename", None)
        where = f" while writing {filename}" if filename else ""
        return f"no space left on the disk{where}; free some and run the same command again, nothing is lost"
    if isinstance(error, OSError) and error.strerror and error.filename:  # without its number
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, (ValueError, OSError)):
        return str(error)
    return f"{type(error).__name__}: {error} (this looks like a bug; --debug shows where it comes from)"
