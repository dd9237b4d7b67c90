"""A job from Python: the calls do what the commands do, are told everything, and give typed records."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import quarry
from results.report import write_report
from runners.reading.load import recipe_of
from runners.run import calls
from tests.results.report.finished_run import write_finished_run

PAGE = Path(__file__).parents[3] / "docs" / "python.md"


def test_the_page_of_python_runs_and_the_listener_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole snippet: a run from a dictionary, up to the measuring of a computed target."""
    monkeypatch.chdir(tmp_path)
    (snippet,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    found: dict[str, object] = {}
    exec(compile(snippet, "docs/python.md", "exec"), found)
    assert found["bars"]
    assert "Measuring the target" not in capsys.readouterr().out
    assert "Measuring the target" in (tmp_path / "runs" / "mine" / "log.txt").read_text()
    result = quarry.open_run("runs/mine")
    assert result.records.manifest is not None
    command = result.records.manifest.sessions[0].command
    assert eval(command, {"quarry": quarry}).folder == result.folder  # the record can be pasted
    with pytest.raises(ValueError, match="train needs the measure|search needs the train"):
        quarry.stage("search", "runs/mine", progress=lambda told: None)
    told: list[quarry.Told] = []
    quarry.stage("report", "runs/mine", progress=told.append)
    assert result.report.exists()
    assert [one.kind for one in told] == ["stage", "line"]


def test_a_finished_run_gives_its_front_and_its_files(tmp_path: Path) -> None:
    run = write_finished_run(tmp_path / "run")
    result = quarry.open_run(run)
    assert [entry.name for entry in result.front] == [entry.name for entry in result.records.summary.front]
    assert result.cards[0].name == "n5"
    assert result.files[0] == run / "artifacts" / "n5" / result.cards[0].file
    assert "n5" in result._repr_html_()
    assert result._repr_html_() in write_report(run).read_text()


def test_settings_of_every_kind_reach_the_recipe() -> None:
    settings = {
        "train.epochs": 3,
        "data.flip": True,
        "search.searchers": ["nsga2", {"kind": "guided"}],
        "space.options": {"depthwise": {"kernel": [3, 5]}},
        "measure.profile": Path("cpu-torch"),
        "name": 'a-"b"'.replace('"', ""),
    }
    recipe = recipe_of("digits", calls._overrides(settings))
    assert (recipe.train.epochs, recipe.data.flip, recipe.measure.profile) == (3, True, "cpu-torch")
    assert [one.kind for one in recipe.search.searchers] == ["nsga2", "guided"]
    assert recipe.space.options == {"depthwise": {"kernel": [3, 5]}}


def test_calls_are_written_down_as_python_takes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    monkeypatch.setattr(calls, "run_recipe", lambda *_, caller, **__: written.append(caller.command))
    monkeypatch.setattr(calls, "work_on", lambda *_, caller: written.append(caller.command))
    recipe = quarry.load_recipe("digits", ["search.speedup=3"])
    quarry.run("digits", out=tmp_path, settings={"measure.profile": Path("cpu-torch")}, last="train")
    quarry.run(recipe, out=tmp_path)
    quarry.stage("search", tmp_path, settings={"search.speedup": 4}, seed=1)
    assert written[0] == (
        f"quarry.run('digits', out='{tmp_path}', settings={{'measure.profile': 'cpu-torch'}}, last='train')"
    )
    given = eval(written[1].removeprefix("quarry.run(").partition(", out=")[0])
    assert recipe_of(given) == recipe
    assert written[2] == (f"quarry.stage('search', '{tmp_path}', settings={{'search.speedup': 4}}, seed=1)")


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: quarry.run("digts"), "Did you mean 'digits'"),
        (lambda: quarry.run("digits", last="audit"), "unknown stage"),
        (lambda: quarry.run("digits", settings={"train.epochs": None}), "train.epochs: None is nothing"),
        (lambda: quarry.run({"name": "x"}), "this recipe is not valid"),
        (lambda: quarry.stage("serch", "x"), "Did you mean 'search'"),
        (lambda: quarry.stage("search", "nowhere"), "there is no run in nowhere"),
        (lambda: quarry.open_run("nowhere"), "there is no run in nowhere"),
    ],
)
def test_what_is_wrong_is_said(
    call: object, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert callable(call)
    with pytest.raises(ValueError, match=re.escape(told)):
        call()
