"""Files survive kills and full disks: whole or not at all, and logs lose at most the line being written."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from results.files import (
    append_line,
    is_part,
    read_json,
    read_lines,
    remove_parts,
    replace_atomic,
    write_atomic,
    write_json,
)


def killed(script: str, folder: Path, seconds: float) -> None:
    """Runs a script that writes without end and kills it in the middle."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()  # it writes now
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    value = {"text": "é", "list": [1, 2.5, None, True], "nested": {"a": []}}
    write_json(tmp_path / "deep" / "file.json", value)
    assert read_json(tmp_path / "deep" / "file.json") == value
    write_atomic(tmp_path / "bytes", b"\x00\xff")
    assert (tmp_path / "bytes").read_bytes() == b"\x00\xff"
    assert (tmp_path / "bytes").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("seconds", [0.01, 0.07])
def test_kill_9_leaves_the_old_file_or_the_new(tmp_path: Path, seconds: float) -> None:
    script = """
import sys
from pathlib import Path
from results.files import write_json
for number in range(10**9):
    write_json(Path(sys.argv[1]) / "file.json", [number] * 100_000)
    if number == 0: print("writing", flush=True)
"""
    killed(script, tmp_path, seconds)
    found = read_json(tmp_path / "file.json")
    assert found == [found[0]] * 100_000
    assert all(is_part(path) for path in tmp_path.iterdir() if path.name != "file.json")
    remove_parts(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file.json"]


@pytest.mark.parametrize("seconds", [0.02, 0.05])
def test_kill_9_keeps_every_line_that_was_reported(tmp_path: Path, seconds: float) -> None:
    script = """
import sys
from pathlib import Path
from results.files import append_line
for number in range(10**9):
    append_line(Path(sys.argv[1]) / "log.jsonl", {"number": number, "text": "x" * 5000})
    (Path(sys.argv[1]) / "seen").write_text(str(number))
    if number == 0: print("writing", flush=True)
"""
    killed(script, tmp_path, seconds)
    numbers = [line["number"] for line in read_lines(tmp_path / "log.jsonl")]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > int((tmp_path / "seen").read_text() or -1)


@pytest.mark.parametrize("cut", [1, 4, 9])
def test_a_line_cut_short_costs_only_itself(tmp_path: Path, cut: int) -> None:
    log = tmp_path / "log.jsonl"
    append_line(log, {"n": 1})
    append_line(log, {"n": 2})
    log.write_bytes(log.read_bytes()[:-cut])
    before = list(read_lines(log))
    append_line(log, {"n": 3})
    assert list(read_lines(log)) == [*before, {"n": 3}]
    assert before[0] == {"n": 1}


def test_a_write_that_runs_out_of_room_halfway_leaves_nothing_half_written(tmp_path: Path) -> None:
    script = """
import resource, sys
from pathlib import Path
from results.files import append_line, write_json
folder = Path(sys.argv[1])
write_json(folder / "file.json", "old")
append_line(folder / "log.jsonl", {"n": 1})
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))  # stands for a full disk: a write ends early
for write, path in ((write_json, folder / "file.json"), (append_line, folder / "log.jsonl")):
    try:
        write(path, {"text": "x" * 20_000})
    except OSError as error:
        print("refused", Path(error.filename).name)
"""
    said = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == "refused file.json\nrefused log.jsonl\n"
    assert read_json(tmp_path / "file.json") == "old"
    append_line(tmp_path / "log.jsonl", {"n": 2})
    assert list(read_lines(tmp_path / "log.jsonl")) == [{"n": 1}, {"n": 2}]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.json", "log.jsonl"]


def test_no_log_has_no_lines(tmp_path: Path) -> None:
    assert list(read_lines(tmp_path / "absent.jsonl")) == []


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    write_json(tmp_path / "file.json", "old")
    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left on device"):
        write_json(tmp_path / "file.json", "new")
    monkeypatch.undo()
    assert read_json(tmp_path / "file.json") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file.json"]


@pytest.mark.parametrize("words", ["No space left on device", "Disk quota exceeded", "File too large"])
def test_a_full_disk_in_a_librarys_own_words_is_an_error_of_the_disk(tmp_path: Path, words: str) -> None:
    def save(path: Path) -> None:
        raise RuntimeError(f"Error while serializing: I/O error: {words} (os error 28)")

    with pytest.raises(OSError, match=f"{words}: '.*weights'"):
        replace_atomic(tmp_path / "weights", save)
    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def half(path: Path) -> None:
        path.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace_atomic(tmp_path / "file", half)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, object()])
def test_what_json_cannot_hold_is_refused_before_the_file_is_touched(tmp_path: Path, value: object) -> None:
    write_json(tmp_path / "file.json", "old")
    append_line(tmp_path / "log.jsonl", "old")
    with pytest.raises((ValueError, TypeError)):
        write_json(tmp_path / "file.json", value)
    with pytest.raises((ValueError, TypeError)):
        append_line(tmp_path / "log.jsonl", value)
    assert read_json(tmp_path / "file.json") == "old"
    assert list(read_lines(tmp_path / "log.jsonl")) == ["old"]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    write_json(file, {"a": 1})
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(ValueError, match=r"file\.json is not readable as JSON .*delete it to have it made"):
        read_json(file)
