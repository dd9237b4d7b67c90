"""What a run says reaches the terminal and its log, as it was written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runners import console as module
from runners.console import Console


def logged(file: Path) -> list[str]:
    lines = file.read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00 ", line) for line in lines)
    return [line.split(" ", 1)[1] for line in lines]


def test_lines_go_to_the_terminal_and_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(tmp_path / "log.txt")
    console.stage("Training")
    console.say("pip install 'quarry-nas[executorch]' [red] :smile:", style="red")
    console.warn("look " + "x" * 300)
    said = capsys.readouterr().out.splitlines()
    wanted = [
        "Training",
        "pip install 'quarry-nas[executorch]' [red] :smile:",
        "warning: look " + "x" * 300,
    ]
    assert said == wanted
    assert logged(tmp_path / "log.txt") == wanted


def test_a_second_console_goes_on_with_the_log(tmp_path: Path) -> None:
    for text in ("first", "second"):
        Console(tmp_path / "log.txt").say(text)
    assert logged(tmp_path / "log.txt") == ["first", "second"]


def test_a_table_shows_brackets_and_is_logged_row_by_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [("small [int8]", "0.97"), ("large", "0.98")]
    Console(tmp_path / "log.txt").table("Chosen [2]", ["network [kind]", "accuracy"], rows)
    said = capsys.readouterr().out
    for text in ("Chosen [2]", "network [kind]", "small [int8]", "0.98"):
        assert text in said
    assert logged(tmp_path / "log.txt") == [
        "network [kind] | accuracy",
        "small [int8] | 0.97",
        "large | 0.98",
    ]


def test_without_a_terminal_progress_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    with Console().progress("training") as bar:
        for step in range(31):  # a step a second, from step 50 of a resumed training on
            now = 100.0 + step
            bar.update(50 + step, 100, "loss 1.5")
    assert capsys.readouterr().out.splitlines() == [
        "training: 60%, 40 s left; loss 1.5",
        "training: 70%, 30 s left; loss 1.5",
        "training: 80%, 20 s left; loss 1.5",
    ]


def test_each_piece_of_work_has_its_name_and_its_clock(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One bar for the trainings of a stage: the second is ten times as slow and begins where it began."""
    now = 100.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    with Console().progress("compressing") as bar:
        for name, seconds in (("net-1, prune", 1.0), ("net-2, retrain", 10.0)):
            bar.begin(name)
            for done in range(1, 16):
                now += seconds
                bar.update(done, 100)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "net-1, prune: 10%, 1 min 30 s left"
    assert said[1].startswith("net-2, retrain: 1%")
    assert said[6:8] == ["net-2, retrain: 6%, 15 min 40 s left", "net-2, retrain: 7%, 15 min 30 s left"]


def test_progress_of_nothing_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PLAIN_SECONDS", 0.0)
    with Console().progress("measuring") as bar:
        bar.update(0, 0)


def test_on_a_terminal_a_bar_comes_and_goes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with Console().progress("searching") as bar:
        bar.update(2, 2)
        bar.begin("search [nsga2]")
        bar.update(1, 2, "[best] 0.9")
    said = capsys.readouterr().out
    assert "search [nsga2]" in said
    assert "50%" in said
    assert "[best] 0.9" in said
