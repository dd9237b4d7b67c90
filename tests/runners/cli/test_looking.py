"""Several runs beside each other, and one at work: what is compared is right, what can't be is said."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from results.files import read_json, write_json
from results.report.compare import costs_of, differences, doubts, read_runs, results_of, write_comparison
from runners.cli import app as cli
from runners.cli.watching import view
from runners.run.directory import lock
from tests.results.report.finished_run import write_finished_run

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs the command in this process, in a folder of its own; code, output and error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["quarry", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        said = capsys.readouterr()
        return int(str(stop.value.code)), said.out, said.err

    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two finished runs, which tests copy."""
    folder = tmp_path_factory.mktemp("made")
    for seed, name in enumerate("ab"):
        write_finished_run(folder / name, seed)
    return folder


@pytest.fixture
def pair(made: Path, tmp_path: Path) -> list[Path]:
    """A finished run, and one with another budget that has exported nothing."""
    first, second = (Path(shutil.copytree(made / name, tmp_path / name)) for name in "ab")
    recipe = read_json(second / "recipe.json")
    recipe["search"]["budget"] = 99
    write_json(second / "recipe.json", recipe)
    for card in second.glob("artifacts/*/card.json"):
        card.unlink()
    return [first, second]


def test_results_costs_and_settings_stand_beside_each_other(pair: list[Path]) -> None:
    runs = read_runs(pair)
    assert results_of(runs[0])[:2] == ["a", "n5"]
    assert results_of(runs[1])[:2] == ["b", "not exported yet"]
    assert differences(runs) == [["search.budget", "150", "99"]]
    name, took, processor, _, energy, *macs = costs_of(runs[0])
    assert macs == ["2.00\u00a0T", "none", "600\u00a0G"]  # compression had two sessions
    assert (name, took, energy) == ("a", "5\u00a0min 0\u00a0s", "0.025\u00a0kWh")  # five sessions of a minute
    assert processor == "8\u00a0min 20\u00a0s"
    assert doubts(runs) == []


def test_what_forbids_a_comparison_is_said(pair: list[Path]) -> None:
    target = read_json(pair[1] / "measure" / "target.json")
    write_json(pair[1] / "measure" / "target.json", target | {"profile": "board"})
    assert "different profiles (board, " in doubts(read_runs(pair))[0]
    write_json(pair[1] / "measure" / "target.json", target | {"machine": "another"})
    assert doubts(read_runs(pair)) == ["Latencies were measured on different machines."]


def test_the_page_has_all_fronts_and_files(pair: list[Path], tmp_path: Path) -> None:
    page = write_comparison(read_runs(pair), tmp_path / "compare.html").read_text()
    assert page.count('class="plot"') == 1
    assert "search.budget" in page
    assert len(re.findall("handed over: ", page)) == 2
    assert "cannot be shown" not in page


def test_the_command_says_the_same_and_writes_the_page(say: Say, pair: list[Path]) -> None:
    code, out, _ = say("compare", *map(str, pair))
    assert code == 0
    assert "search.budget" in out
    assert Path("compare.html").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("compare", "a"), "two runs or more"),
        (("compare", "a", "a"), "each once"),
        (("compare", "a", "nowhere"), "no run in nowhere"),
        (("compare", "a", "."), "no run in ."),
        (("watch", "nowhere"), "no run in nowhere"),
    ],
)
def test_what_is_no_run_is_said(say: Say, pair: list[Path], words: tuple[str, ...], told: str) -> None:
    code, _, err = say(*words)
    assert code == 1
    assert told in err


def test_a_compressed_model_has_no_stages_to_watch(say: Say, tmp_path: Path) -> None:
    write_json(tmp_path / "job" / "recipe.json", {"name": "job", "model": "an identity"})
    code, _, err = say("watch", "job")
    assert code == 1
    assert "see its log.txt" in err


def test_a_run_at_work_is_seen_with_its_stages_and_last_words(say: Say, pair: list[Path]) -> None:
    run = pair[1]
    made = read_json(run / "run.json")
    made["sessions"][-1]["stages"][-1] |= {"seconds": 0.0, "finished": False}
    write_json(run / "run.json", made)
    stages = read_json(run / "stages.json")
    write_json(run / "stages.json", {name: stages[name] for name in ("measure", "train", "search")})
    write_json(run / "forecast.json", {"train": 90.0, "export": 9.0})
    (run / "log.txt").write_text("".join(f"2026-11-21T10:00:00+00:00 line {i}\n" for i in range(50)))
    assert re.search("compress +stopped before its end", view(run)[0])  # as a killed process leaves it
    handle = lock(run)
    words, finished = view(run)
    os.close(handle)
    assert not finished
    assert re.search(r"train +done in 1\u00a0min 21\u00a0s", words)
    assert re.search("compress +at work for", words)
    assert re.search("export +to come, foretold 9.0\u00a0s", words)
    assert "epoch 24: loss" in words
    assert words.endswith("line 48\nline 49")
    said = say("watch", str(run), "--once")[1]
    assert said.strip() == view(run)[0].strip()
