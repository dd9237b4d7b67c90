"""Records from their files, with the file in every message."""

from __future__ import annotations

from pathlib import Path

from results.files import read_json
from results.records.codec import R


def read_record(kind: type[R], file: Path) -> R:
    """The record in a file.

    Raises:
        ValueError: the file is not JSON, or not such a record; the message names the file and the field.
        FileNotFoundError: there is no such file.
    """
    value = read_json(file)
    try:
        return kind.from_json(value)
    except ValueError as error:
        raise ValueError(f"{file} cannot be read: {error}") from error
