"""What was handed over and is gone, or cut short, is seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from results.files import write_json
from results.records.checksums import CHECKSUMS, checksums
from results.records.handed_over import NAMED, missing
from tests.results.records.test_records import CARD


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    card = replace(CARD, name="a", file="model.onnx", size_bytes=4)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / card.file).write_bytes(b"1234")
        (tmp_path / name / "README.md").write_text("words")
        (tmp_path / name / "model.py").write_text("code")
        (tmp_path / name / CHECKSUMS).write_text(checksums({card.file: b"1234", "model.py": b"code"}))
        write_json(tmp_path / name / "card.json", card.to_json())
    write_json(tmp_path / NAMED, ["a", "b"])
    return tmp_path


@pytest.mark.parametrize(
    ("harm", "lost"),
    [
        (lambda folder: (folder / "b/model.onnx").unlink(), ["b/model.onnx"]),
        (lambda folder: (folder / "b/model.onnx").write_bytes(b"12"), ["b/model.onnx"]),
        (lambda folder: (folder / "a/card.json").write_text("{"), ["a/card.json"]),
        (lambda folder: (folder / "a/card.json").unlink(), ["a/card.json"]),
        (lambda folder: (folder / "a/README.md").unlink(), ["a/README.md"]),
        (lambda folder: (folder / "b/model.py").unlink(), ["b/model.py"]),
        (lambda folder: (folder / "b" / CHECKSUMS).write_text("?"), [f"b/{CHECKSUMS}"]),
        (lambda folder: (folder / "b" / CHECKSUMS).unlink(), []),  # of a run from before there were sums
        (lambda folder: (folder / NAMED).write_text(""), [NAMED]),
        (lambda folder: (folder / NAMED).unlink(), []),  # of a run from before there were names
    ],
    ids=[
        "model",
        "cut short",
        "damaged card",
        "card",
        "readme",
        "code",
        "damaged sums",
        "no sums",
        "damaged names",
        "no names",
    ],
)
def test_each_file_is_missed(artifacts: Path, harm: Callable[[Path], object], lost: list[str]) -> None:
    assert missing(artifacts) == []
    harm(artifacts)
    assert missing(artifacts) == [artifacts / name for name in lost]
