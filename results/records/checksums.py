"""SHA-256 sums of the files of a folder, in the form that ``sha256sum --check`` reads."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

CHECKSUMS = "checksums.sha256"
_LINE = re.compile(r"([0-9a-f]{64}) [ *]([^/\\]+)")
_CHUNK_BYTES = 2**20


def checksums(contents: Mapping[str, bytes]) -> str:
    """The content of ``checksums.sha256`` for files by name."""
    lines = (f"{hashlib.sha256(content).hexdigest()}  {name}" for name, content in sorted(contents.items()))
    return "\n".join(lines) + "\n"


def summed(folder: Path) -> dict[str, str]:
    """The sums that a folder says its files have, by name; none where it has no such file.

    Raises:
        ValueError: a line that is no such sum; names the file and the line.
    """
    file = folder / CHECKSUMS
    if not file.exists():
        return {}
    found = {}
    for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1):
        matched = _LINE.fullmatch(line)
        if matched is None:
            raise ValueError(f"{file} is damaged: line {number} is no SHA-256 sum and name of a file")
        found[matched[2]] = matched[1]
    return found


def damaged(folder: Path) -> dict[Path, str]:
    """What is wrong with the files of a folder, a sentence for each; empty where all are whole.

    Raises:
        ValueError: the sums themselves are damaged, or not there.
    """
    known = summed(folder)
    if not known:
        raise ValueError(f"{folder} has no {CHECKSUMS}, so nothing says what its files should hold")
    found = {}
    for name, expected in known.items():
        file = folder / name
        if not file.is_file():
            found[file] = f"{file} is gone"
        elif _sum(file) != expected:
            found[file] = f"{file} is not what was written: damaged, cut short or edited since"
    return found


def _sum(file: Path) -> str:
    facts = file.stat()
    return _sum_of(file, facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=1024)  # a command asks several times, and files may be large
def _sum_of(file: Path, _mtime_ns: int, _size_bytes: int) -> str:
    found = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK_BYTES):
            found.update(chunk)
    return found.hexdigest()
