"""run.json has every command and session of a stage, and stages.json counts them all."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from results.files import append_line, read_json, write_json
from results.records import EpochRecord, Manifest, read_record
from runners.measuring.power import EnergyMeter
from runners.reading.load import load_recipe
from runners.run.directory import RunDirectory

DIGITS = load_recipe("digits", ["search.seed=7"])


def work(
    folder: Path,
    command: str,
    stage: str,
    *,
    seconds: float = 0.0,
    fails: bool = False,
    then: Callable[[], object] = lambda: None,
) -> None:
    run = RunDirectory(folder, DIGITS, command)
    try:
        with run.stage(stage):
            time.sleep(seconds)
            (folder / stage).mkdir(exist_ok=True)
            then()
            if fails:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    finally:
        run.close()


def manifest(folder: Path) -> Manifest:
    return read_record(Manifest, folder / "run.json")


def test_every_command_and_stage_is_written_down(tmp_path: Path) -> None:
    work(tmp_path, "quarry run digits", "measure")
    work(tmp_path, "quarry search --out x", "search")
    first, second = manifest(tmp_path).sessions
    assert (first.command, second.command) == ("quarry run digits", "quarry search --out x")
    assert "torch" in first.versions
    assert [(one.stage, one.seed, one.finished) for one in (*first.stages, *second.stages)] == [
        ("measure", DIGITS.seed, True),
        ("search", 7, True),
    ]
    assert first.stages[0].cpu_seconds is not None


def test_a_command_that_works_on_nothing_leaves_nothing(tmp_path: Path) -> None:
    RunDirectory(tmp_path, DIGITS, "quarry run digits").close()
    assert not (tmp_path / "run.json").exists()


def test_the_time_of_a_stage_is_that_of_all_its_sessions(tmp_path: Path) -> None:
    work(tmp_path, "a", "measure", seconds=0.2, fails=True)
    work(tmp_path, "b", "measure", seconds=0.2)
    both = read_json(tmp_path / "stages.json")["measure"]
    assert 0.4 <= both < 5
    work(tmp_path, "c", "measure")  # done again: what was finished before is not in it
    assert read_json(tmp_path / "stages.json")["measure"] < 0.2


def test_what_training_cost_is_counted_in_the_session_that_did_it(tmp_path: Path) -> None:
    def epoch(number: int) -> None:
        record = EpochRecord(
            epoch=number, step=1, loss=1.0, learning_rate=0.1, seconds=1.0, images_per_second=1.0, macs=2e9
        )
        append_line(tmp_path / "train" / "history.jsonl", record.to_json())

    work(tmp_path, "a", "train", then=lambda: epoch(0), fails=True)
    work(tmp_path, "b", "train", then=lambda: (epoch(1), epoch(2)))
    assert [one.macs for one in manifest(tmp_path).of("train")] == [{"training": 2e9}, {"training": 4e9}]
    assert manifest(tmp_path).macs("train") == {"training": 6e9}


def test_a_killed_process_counts_until_its_last_word(tmp_path: Path) -> None:
    work(tmp_path, "a", "measure")
    made = read_json(tmp_path / "run.json")
    made["sessions"][0]["stages"][0] |= {"seconds": 0.0, "finished": False, "cpu_seconds": None}
    write_json(tmp_path / "run.json", made)
    (tmp_path / "log.txt").write_text("its last word")
    began = time.time()
    os.utime(tmp_path / "log.txt", (began, began + 100))
    work(tmp_path, "b", "measure")
    killed, after = manifest(tmp_path).of("measure")
    assert 95 < killed.seconds < 102
    assert not killed.finished
    assert read_json(tmp_path / "stages.json")["measure"] == pytest.approx(
        killed.seconds + after.seconds, abs=0.1
    )


def test_nor_does_a_command_that_is_refused_later_make_it_longer(tmp_path: Path) -> None:
    work(tmp_path, "a", "measure")
    made = read_json(tmp_path / "run.json")
    made["sessions"][0]["stages"][0] |= {"seconds": 0.0, "finished": False, "cpu_seconds": None}
    write_json(tmp_path / "run.json", made)
    log, began = tmp_path / "log.txt", time.time()
    log.write_text("its last word")
    os.utime(log, (began, began + 100))
    RunDirectory(tmp_path, DIGITS, "b").close()
    os.utime(log, (began, began + 86_400))  # the error of that command, the day after
    work(tmp_path, "c", "measure")
    assert 95 < manifest(tmp_path).of("measure")[0].seconds < 102


def test_what_is_put_aside_no_longer_counts(tmp_path: Path) -> None:
    work(tmp_path, "a", "measure", seconds=0.3, fails=True)
    run = RunDirectory(tmp_path, DIGITS, "b")
    run.put_aside("measure")
    run.close()
    assert manifest(tmp_path).seconds("measure") == 0
    assert manifest(tmp_path).of("measure")[0].seconds >= 0.3


@pytest.mark.parametrize("content", ["", "{", '{"sessions": 3}'])
def test_a_damaged_manifest_is_said_with_the_way_out(tmp_path: Path, content: str) -> None:
    work(tmp_path, "a", "measure")
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ValueError, match="run.json.*without it only the list of commands is lost"):
        RunDirectory(tmp_path, DIGITS, "b")
    (tmp_path / "run.json").unlink()
    work(tmp_path, "b", "measure")


def test_energy_is_that_between_readings_over_the_turn_of_the_counter(tmp_path: Path) -> None:
    place = tmp_path / "intel-rapl:0"
    place.mkdir()
    (place / "max_energy_range_uj").write_text("100000000")
    (place / "energy_uj").write_text("90000000")
    meter = EnergyMeter(root=tmp_path, every_s=0.01)
    (place / "energy_uj").write_text("99000000")
    time.sleep(0.1)
    (place / "energy_uj").write_text("30000000")
    assert meter.stop() == pytest.approx(40.0)
    assert EnergyMeter(root=tmp_path / "none").stop() is None
