"""What was handed over and is gone, or cut short, is seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from results.files import write_json
from results.records.checksums import CHECKSUMS, checksums
from results.records.handed_over import NAMED, missing


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    contents = {"model.onnx": b"1234", "README.md": b"words", "model.py": b"code", "card.json": b"{}"}
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for file, content in contents.items():
            (tmp_path / name / file).write_bytes(content)
        (tmp_path / name / CHECKSUMS).write_text(checksums(contents))
    write_json(tmp_path / NAMED, ["a", "b"])
    return tmp_path


@pytest.mark.parametrize(
    "file", ["b/model.onnx", "b/model.py", "a/card.json", "a/README.md", f"b/{CHECKSUMS}", NAMED]
)
@pytest.mark.parametrize(
    "harm",
    [
        lambda file: file.unlink(),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 3]),
        lambda file: file.write_bytes(b"?" * file.stat().st_size),  # of the same size
    ],
    ids=["deleted", "emptied", "cut short", "other bytes"],
)
def test_each_file_is_missed(artifacts: Path, file: str, harm: Callable[[Path], object]) -> None:
    assert missing(artifacts) == []
    harm(artifacts / file)
    assert missing(artifacts) == [artifacts / file]
