"""A run's folder: it belongs to one recipe and one process at a time, and survives a kill at any point."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from results.files import read_json, write_json
from runners.reading.load import load_recipe, revise
from runners.recipe.part import part
from runners.recipe.schema import Recipe
from runners.run.directory import FORECAST, RunDirectory
from runners.run.sequence import start_kit, take_table, write_kit
from runners.run.stages import BY_NAME, STAGES, WHOLE_RUN, before, onward, readers

DIGITS = load_recipe("digits")


@contextmanager
def opened(path: Path, recipe: Recipe | None = DIGITS) -> Iterator[RunDirectory]:
    run = RunDirectory(path, recipe, "quarry run digits")
    try:
        yield run
    finally:
        run.close()


SUPERNET = "train/supernet.safetensors"


def finish(run: RunDirectory, *stages: str) -> None:
    """What the stages leave, as far as a run's folder looks at it."""
    for stage in stages:
        with run.stage(stage):
            if stage in ("measure", "search"):
                write_json(run.path / stage / "made.json", stage)
            write_json(run.path / BY_NAME[stage].result, [])


def refused(path: Path, recipe: Recipe | None = DIGITS) -> str:
    with pytest.raises(ValueError, match=".") as caught:
        RunDirectory(path, recipe, "")
    return str(caught.value)


def test_a_run_keeps_its_recipe_and_says_where_it_was_made(tmp_path: Path) -> None:
    with opened(tmp_path / "new" / "run") as run:
        assert run.recipe == DIGITS
        made = read_json(run.path / "provenance.json")
    assert made["seed"] == DIGITS.seed
    assert made["command"] == "quarry run digits"
    assert made["machine"]["cores"] == os.cpu_count()
    assert {"python", "torch", "numpy"} <= made["versions"].keys()
    (tmp_path / "new" / "run" / "provenance.json").unlink()  # as is advised where it is damaged
    with opened(tmp_path / "new" / "run", None) as run:
        assert read_json(run.path / "provenance.json")["seed"] == DIGITS.seed
        assert run.recipe == DIGITS
        assert run.finished == {}


def test_another_recipe_is_refused_with_the_keys_that_differ(tmp_path: Path) -> None:
    with opened(tmp_path) as run:
        finish(run, "train")
    other = load_recipe("digits", ["train.epochs=1", "search.budget=99"], seed=3)
    said = refused(tmp_path, other)
    assert f"{tmp_path} holds a run of another recipe" in said
    assert "it differs in search.budget, seed, train.epochs. Choose another --out" in said
    with opened(tmp_path) as run:  # the refusal did not keep the lock
        assert run.recipe == DIGITS


def test_a_run_that_made_nothing_yet_takes_a_mended_recipe(tmp_path: Path) -> None:
    lost = DIGITS.data.model_copy(update={"source": part(f"{tmp_path}/nowhere")})
    wrong = DIGITS.model_copy(update={"data": lost})
    with opened(tmp_path, wrong):
        pass
    with opened(tmp_path) as run:
        assert run.recipe == DIGITS
    with opened(tmp_path, None) as run:
        assert run.recipe == DIGITS


def test_a_foreign_folder_a_file_and_a_missing_run_are_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert f"{tmp_path} is not empty and holds no run; choose another --out" in refused(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    assert "thesis.txt is a file; --out names a folder" in refused(tmp_path / "thesis.txt")
    absent = tmp_path / "absent"
    assert f"there is no run in {absent}; start one with: quarry run RECIPE" in refused(absent, None)
    assert not absent.exists()


def test_a_second_process_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from runners.run.directory import RunDirectory\n"
        "run = RunDirectory(Path(sys.argv[1]), None, ''); print('open', flush=True); sys.stdin.read()"
    )
    with opened(tmp_path):
        pass
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=Path(__file__).parents[3],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"open\n"
    assert f"another quarry process is working in {tmp_path}; wait for it or stop it" in refused(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with opened(tmp_path) as run:
        assert run.recipe == DIGITS


def test_two_at_once_in_one_process_are_refused_too(tmp_path: Path) -> None:
    with opened(tmp_path):
        assert "another quarry process" in refused(tmp_path)
    with opened(tmp_path):
        pass


@pytest.mark.parametrize("left", [[], [".lock"], ["provenance.json"], [".recipe.json.x1.part"]])
def test_a_start_that_was_killed_is_started_again(tmp_path: Path, left: list[str]) -> None:
    for name in left:
        (tmp_path / name).touch()
    with opened(tmp_path) as run:
        assert run.recipe == DIGITS
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "provenance.json", "recipe.json"]


def test_what_a_kill_left_of_a_write_is_removed(tmp_path: Path) -> None:
    with opened(tmp_path) as run:
        finish(run, "train")
    left = tmp_path / "train" / ".checkpoint.safetensors.abc.part"
    left.write_bytes(b"half")
    with opened(tmp_path):
        assert not left.exists()
        assert (tmp_path / SUPERNET).exists()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b'{"name": "digits"}'])
def test_a_damaged_recipe_is_named(tmp_path: Path, content: bytes) -> None:
    with opened(tmp_path):
        pass
    (tmp_path / "recipe.json").write_bytes(content)
    said = refused(tmp_path, None)
    assert str(tmp_path) in said
    assert "damaged" in said or "is not valid" in said
    assert "delete it" not in said


@pytest.mark.parametrize("content", ["{", "[]", '{"trian": 3}', '{"train": "x"}'])
def test_damaged_marks_are_named_and_may_be_deleted(tmp_path: Path, content: str) -> None:
    with opened(tmp_path) as run:
        (tmp_path / "stages.json").write_text(content)
        with pytest.raises(ValueError, match=r"stages\.json .*without it the stages are done again"):
            _ = run.finished
        (tmp_path / "stages.json").unlink()
        assert run.finished == {}


def test_a_full_disk_leaves_no_half_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        RunDirectory(tmp_path, DIGITS, "")
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    monkeypatch.undo()
    with opened(tmp_path) as run:
        assert run.recipe == DIGITS


def test_a_stage_counts_as_finished_only_when_it_ends_well(tmp_path: Path) -> None:
    with opened(tmp_path) as run:
        with pytest.raises(RuntimeError), run.stage("train"):
            raise RuntimeError("in the middle")
        assert run.finished == {}
        finish(run, "measure", "train")
        assert list(run.finished) == ["measure", "train"]


def test_a_stage_whose_result_was_deleted_is_not_finished(tmp_path: Path) -> None:
    with opened(tmp_path) as run:
        finish(run, "train", "measure")
        (tmp_path / SUPERNET).unlink()
        assert list(run.finished) == ["measure"]
        with pytest.raises(ValueError, match=f"quarry train --out {tmp_path}"):
            run.require("search")


def test_a_stage_needs_those_before_it(tmp_path: Path) -> None:
    with opened(tmp_path) as run:
        run.require("measure")
        finish(run, "measure")
        run.require("train")
        with pytest.raises(
            ValueError, match=f"search needs the train stage .* quarry train --out {tmp_path}"
        ):
            run.require("search")


def test_a_changed_stage_puts_aside_what_follows_from_it(tmp_path: Path) -> None:
    with opened(tmp_path) as run:
        finish(run, *WHOLE_RUN)
        changed = revise(DIGITS, ["search.budget=99"])
        assert run.revise(changed, "search") == tmp_path / "earlier" / "1"
        assert list(run.finished) == ["measure", "train"]
        assert sorted(path.name for path in (tmp_path / "earlier" / "1").iterdir()) == [
            "artifacts",
            "compress",
            "report.html",
            "search",
        ]
        assert (tmp_path / SUPERNET).exists()
        finish(run, "search")
        run.put_aside("search")
        assert (tmp_path / "earlier" / "2" / "search" / "made.json").exists()
    with opened(tmp_path, None) as run:
        assert run.recipe == changed


def test_what_was_foretold_under_other_settings_is_forgotten(tmp_path: Path) -> None:
    told = {"measure": 1.0, "train": 2.0, "search": 3.0, "compress": 4.0, "export": 5.0}
    with opened(tmp_path) as run:
        finish(run, *WHOLE_RUN)
        write_json(tmp_path / FORECAST, told)
        run.put_aside("search")  # done again as it was
        assert read_json(tmp_path / FORECAST) == told
        run.revise(revise(DIGITS, ["search.budget=99"]), "search")
        assert read_json(tmp_path / FORECAST) == {"measure": 1.0, "train": 2.0}


def test_no_change_puts_nothing_aside(tmp_path: Path) -> None:
    with opened(tmp_path) as run:
        finish(run, *WHOLE_RUN)
        assert run.revise(revise(DIGITS, []), "train") is None
        assert list(run.finished) == list(WHOLE_RUN)
        assert not (tmp_path / "earlier").exists()


def test_a_change_that_belongs_to_an_earlier_stage_names_it(tmp_path: Path) -> None:
    with opened(tmp_path) as run:
        finish(run, *WHOLE_RUN)
        with pytest.raises(ValueError, match="train.epochs belongs to the train stage, .*search"):
            run.revise(revise(DIGITS, ["train.epochs=2"]), "search")
        assert list(run.finished) == list(WHOLE_RUN)
        assert run.recipe == DIGITS


def test_another_device_leaves_what_was_trained_and_another_training_what_was_measured(
    tmp_path: Path,
) -> None:
    with opened(tmp_path) as run:
        finish(run, *WHOLE_RUN)
        run.revise(revise(run.recipe, ["measure.profile=cpu-ort-all"]), "measure")
        assert list(run.finished) == ["train"]
        finish(run, "measure", "search")
        run.revise(revise(run.recipe, ["train.epochs=2"]), "train")
        assert list(run.finished) == ["measure"]
        with pytest.raises(ValueError, match=r"measure.profile belongs to the measure stage"):
            run.revise(revise(run.recipe, ["measure.profile=cpu-ort"]), "train")


def test_other_data_send_a_run_back_to_all_that_was_made_of_them(tmp_path: Path) -> None:
    with opened(tmp_path) as run:
        finish(run, *WHOLE_RUN)
        other = revise(run.recipe, ["data.val_fraction=0.3"])
        with pytest.raises(ValueError, match="data.val_fraction belongs to the train stage"):
            run.revise(other, "measure")
        place = run.revise(other, "train")
        assert place is not None
        assert {"measure", "train", "search"} <= {path.name for path in place.iterdir()}
        assert run.finished == {}


def test_a_training_outlives_the_table_it_began_with(tmp_path: Path) -> None:
    with opened(tmp_path) as run:
        finish(run, "measure", "train", "search")
        shutil.rmtree(tmp_path / "measure")
        assert list(run.finished) == ["train"]


def test_a_training_under_way_may_go_on_with_other_processes(tmp_path: Path) -> None:
    with opened(tmp_path) as run:
        write_json(tmp_path / "train" / "checkpoint", "half-way")
    more = revise(DIGITS, ["train.processes=2", "train.ray_address=head:6379"])
    with opened(tmp_path, more) as run:  # quarry run digits --set train.processes=2 ...
        assert run.recipe == more
        run.revise(revise(run.recipe, ["train.processes=4"]), "train")  # quarry train --out RUN --set ...
        assert run.recipe.train.processes == 4
        assert (tmp_path / "train" / "checkpoint").exists()
        assert not (tmp_path / "earlier").exists()


def test_how_many_workers_and_where_may_change_in_the_middle(tmp_path: Path) -> None:
    with opened(tmp_path) as run:
        finish(run, "train", "measure")
        write_json(tmp_path / "search" / "made.json", "half")
    more = revise(DIGITS, ["search.workers=7"])
    with opened(tmp_path, more) as run:
        assert run.recipe.search.workers == 7
        run.revise(revise(run.recipe, ["search.workers=3", "search.ray_address=head:6379"]), "search")
        assert run.recipe.search.workers == 3
        assert (tmp_path / "search" / "made.json").exists(), (
            "a search that goes on elsewhere keeps its trials"
        )
    with opened(tmp_path, None) as run:
        assert run.recipe.search.ray_address == "head:6379"
    assert "search.budget" in refused(tmp_path, revise(DIGITS, ["search.budget=99", "search.workers=2"]))


def test_a_change_that_is_refused_leaves_everything_in_place(tmp_path: Path) -> None:
    def refuse() -> None:
        assert run.recipe.search.budget == 99  # it is asked about the new recipe
        raise ValueError("impossible")

    with opened(tmp_path) as run:
        finish(run, *WHOLE_RUN)
        before = (tmp_path / "recipe.json").read_bytes(), run.finished
        with pytest.raises(ValueError, match="impossible"):
            run.revise(revise(DIGITS, ["search.budget=99"]), "search", refuse)
        assert run.recipe == DIGITS
        assert ((tmp_path / "recipe.json").read_bytes(), run.finished) == before
        assert not (tmp_path / "earlier").exists()


def test_the_table_of_stages_is_whole() -> None:
    names = [stage.name for stage in STAGES]
    assert len(set(names)) == len(names)
    for stage in STAGES:
        assert set(stage.needs) <= set(names[: names.index(stage.name)]), "needs come first"
        assert stage.result.split("/")[0] in stage.writes
        assert all(key.split(".")[0] in stage.keys for key in stage.harmless)
    for key in type(DIGITS).model_fields:
        assert readers(key), f"a change of {key} has to send a run back to some stage"
    assert before("export") == ("measure", "train", "search", "compress")
    assert before("audit") == ("measure", "train")
    assert onward("search") == ("search", "compress", "export", "report")
    assert onward("train") == tuple(name for name in names if name != "measure")
    assert onward("measure") == ("measure", *onward("search"))


def test_what_was_made_of_a_deleted_result_is_put_aside(tmp_path: Path) -> None:
    with opened(tmp_path) as run:
        finish(run, *WHOLE_RUN)
        shutil.rmtree(tmp_path / "search")
        assert list(run.finished) == ["measure", "train"], "no card of a front that is not there any more"
        place = run.put_aside_stale("search")
        assert place is not None
        assert sorted(path.name for path in place.iterdir()) == ["artifacts", "compress", "report.html"]
        assert run.put_aside_stale("search") is None
        (tmp_path / SUPERNET).unlink()  # made again from its checkpoint, to the same bits
        assert run.put_aside_stale("train") is None
        assert list(run.finished) == ["measure"]


def test_places_of_what_is_put_aside_are_never_taken_twice(tmp_path: Path) -> None:
    with opened(tmp_path) as run:
        for number in (1, 2):
            finish(run, "train")
            assert run.put_aside("train") == tmp_path / "earlier" / str(number)
        shutil.rmtree(tmp_path / "earlier" / "1")
        finish(run, "train")
        assert run.put_aside("train") == tmp_path / "earlier" / "3"


def test_how_networks_are_ranked_is_decided_when_a_run_begins(tmp_path: Path) -> None:
    alone = ['search.ranking="alone"', 'compress.steps=["quantize"]']
    with opened(tmp_path) as run:
        finish(run, *WHOLE_RUN)
        with pytest.raises(ValueError, match="search.ranking decides .* start another run"):
            run.revise(revise(DIGITS, alone), "search")
        assert set(run.finished) == set(WHOLE_RUN)


def test_a_table_is_refused_where_nothing_would_read_it(tmp_path: Path) -> None:
    changed = ['search.ranking="alone"', 'compress.steps=["quantize"]']
    with opened(tmp_path / "run", revise(DIGITS, changed)) as run:
        finish(run, "measure")
    for take in (take_table, write_kit):
        with pytest.raises(ValueError, match="a table of layers from elsewhere is of no use"):
            take(tmp_path / "run", tmp_path / "kit")
    for other, words in ((changed, "is of no use"), (["space.precisions=stage"], "of one number format")):
        with pytest.raises(ValueError, match=words):
            start_kit("digits", tmp_path / "other", tmp_path / "kit", other, None)
    assert (tmp_path / "run" / "measure" / "made.json").exists()
