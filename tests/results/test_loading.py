"""Code of other people: loaded once, by path, by dotted name or by entry point; what fails is named."""

from __future__ import annotations

import pickle
import sys
from importlib import metadata
from pathlib import Path

import cloudpickle
import pytest

from results import loading
from results.loading import load_installed_parts, load_module, load_object


def test_a_file_is_read_once_and_leaves_no_name_behind(tmp_path: Path) -> None:
    file = tmp_path / "json_of_mine.py"
    file.write_text("made = []\n")
    module = load_module(str(file))
    assert load_module(str(tmp_path / "." / "json_of_mine.py")) is module
    assert "json_of_mine" not in sys.modules
    file.write_text("made = [1]\n")
    assert load_module(str(file)).made == [1]


def test_what_a_file_defines_goes_to_another_process_by_value(tmp_path: Path) -> None:
    file = tmp_path / "rule_of_mine.py"
    file.write_text("factor = 3\ndef rule(x):\n    return factor * x\n")
    rule = load_object(f"{file}:rule")
    file.unlink()
    assert pickle.loads(cloudpickle.dumps(rule))(2) == 6


def test_a_file_called_like_a_package_does_not_hide_it(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("mine = True\n")
    assert load_module(str(tmp_path / "json.py")).mine
    import json

    assert json.loads("1") == 1


def test_a_dotted_name_is_imported() -> None:
    assert load_module("results.names").__name__ == "results.names"
    assert load_object("results.names:unknown").__name__ == "unknown"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("results.nams", "there is no module 'results.nams'. Did you mean 'results.names'?"),
        ("reslts.names", "there is no module 'reslts'. Did you mean 'results'?"),
        ("{}/needs.py", "needs.py fails: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("{}/boom.py", "boom.py fails: ZeroDivisionError: division by zero"),
        ("{}/bom.py", "there is no file {}/bom.py. Did you mean 'boom.py'?"),
    ],
)
def test_a_module_that_cannot_be_had_is_named_with_the_nearest(
    tmp_path: Path, spec: str, message: str
) -> None:
    (tmp_path / "boom.py").write_text("1 / 0\n")
    (tmp_path / "needs.py").write_text("import nowhere_at_all\n")
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        load_module(spec.format(tmp_path))
    assert message.format(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("results.names", "write it as path/to/file.py:name"),
        (":unknown", "write it as path/to/file.py:name"),
        ("results.names:unknwon", "results.names has no 'unknwon'. Did you mean 'unknown'?"),
    ],
)
def test_an_object_that_cannot_be_had_is_named(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=".") as caught:
        load_object(spec)
    assert message in str(caught.value)


def test_an_entry_point_that_raises_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "parts_of_theirs.py").write_text("raise KeyError('width')\n")
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{loading.ENTRY_POINTS}]\nblocks = parts_of_theirs\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert [entry.name for entry in metadata.entry_points(group=loading.ENTRY_POINTS)] == ["blocks"]
    with pytest.raises(ValueError, match=".") as caught:
        load_installed_parts()
    said = str(caught.value)
    assert (
        "entry point 'blocks' of theirs (parts_of_theirs) fails: KeyError: 'width'; uninstall theirs" in said
    )
