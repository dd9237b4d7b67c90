"""Scripts of earlier names are run as what they mean today, and their exit code is what counts."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from tests import reports


@pytest.mark.parametrize("name", reports.MODULES.values())
def test_what_moved_is_there(name: str) -> None:
    assert find_spec(name) is not None


def test_a_script_says_fine_or_fault_by_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "good.py").write_text("import results.names\nprint('all equal')\n")
    (tmp_path / "bad.py").write_text("import sys\nprint('off by 3 %')\nsys.exit(1)\n")
    assert reports.main([str(tmp_path)]) == 1
    said = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=2) for line in said] == [
        ["fault", "bad", "off by 3 %"],
        ["fine", "good", "all equal"],
    ]
    assert reports.main([str(tmp_path), "good"]) == 0


def test_whole_runs_come_last_once_for_each_argument(tmp_path: Path) -> None:
    for name in ("own_space_runs", "zebra"):
        (tmp_path / f"{name}.py").touch()
    found = [(file.stem, argument) for file, argument in reports.scripts(tmp_path)]
    assert found == [("zebra", ""), *(("own_space_runs", one) for one in reports.ARGUMENTS["own_space_runs"])]


def test_names_and_keys_of_then_become_those_of_now() -> None:
    assert (
        reports.today("from compress.export import export_onnx")
        == "from compress.onnx.export import export_onnx"
    )
    assert "measure = { fit_networks = 5" in reports.today("profile = { fit_networks = 5")
