"""Files that are never half-written.

A file appears whole or not at all: written beside its place, flushed to the disk, renamed. Logs grow by
whole lines; a line cut short by a kill is dropped when the log is read.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_PART = ".part"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a full disk, a user's share of it, the largest file


def write_atomic(path: Path, content: bytes | str) -> None:
    """Writes a file so that readers see the old content or the new, never a part.

    Raises:
        OSError: the disk is full or the folder cannot be written; nothing is left behind.
    """
    data = content.encode() if isinstance(content, str) else content
    replace_atomic(path, lambda temporary: temporary.write_bytes(data))


def replace_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Lets ``write`` fill a temporary file beside ``path``, then moves it into place.

    Raises:
        OSError: the disk is full, or ``write`` raised it; the temporary file is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_PART)
    os.close(handle)
    temporary = Path(name)
    try:
        with _naming(path):
            write(temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        temporary.chmod(0o644)  # mkstemp makes it private
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Gives errors of writing the file they are about; libraries have their own for one that has no room."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise
    except Exception as error:
        for code in _NO_ROOM:
            if os.strerror(code) in str(error):
                raise OSError(code, os.strerror(code), str(path)) from error
        raise


def is_part(path: Path) -> bool:
    """Whether a file is what a kill left of an atomic write."""
    return path.name.startswith(".") and path.name.endswith(_PART)


def remove_parts(folder: Path) -> None:
    """Removes what kills left of atomic writes, in a folder and below; nobody may be writing there."""
    for path in folder.rglob(f".*{_PART}"):
        path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # some file systems refuse to sync a folder; the rename still holds
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Writes JSON, atomically; NaN and infinity are refused so that any reader can take it.

    Raises:
        ValueError: the value holds NaN, infinity, or something that is not JSON.
    """
    write_atomic(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Reads JSON.

    Raises:
        ValueError: the file is not JSON; the message names it and the place.
        FileNotFoundError: there is no such file.
    """
    try:
        return json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is not readable as JSON ({error}); delete it to have it made again"
        ) from error


def append_line(path: Path, value: Any) -> None:
    """Appends one JSON value as a line and flushes it to the disk before returning."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _naming(path), path.open("ab+") as file:
        if file.tell() and _last_byte(path) != b"\n":
            file.write(b"\n")  # a kill cut the last line short; keep it from swallowing this one
        file.write(json.dumps(value, allow_nan=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1)


def read_lines(path: Path) -> Iterator[Any]:
    """The values of a log written by ``append_line``; none if there is no such file.

    A line that a kill cut short is not JSON and is passed over.
    """
    if not path.exists():
        return
    for line in path.read_bytes().splitlines():
        with contextlib.suppress(json.JSONDecodeError, UnicodeDecodeError):
            yield json.loads(line)
