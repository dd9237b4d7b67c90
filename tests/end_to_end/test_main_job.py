"""The main job through the command line, on real data: what it leaves, and that a kill changes nothing."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from safetensors.numpy import load_file

import results
from results.files import read_lines
from results.records import Card
from runners.data.load import load_data
from runners.reading.load import load_recipe
from tests.end_to_end.command import SMALL, kill_when, quarry, settings

SEARCHERS = 'search.searchers=["nsga2", { kind = "nsga2", population = 12 }]'  # one searcher, two settings
ARGUMENTS = ["run", "digits", "--out", "run", *settings(*SMALL, SEARCHERS)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    done = quarry(*ARGUMENTS, folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "said.txt").write_text(done.stdout)
    return folder / "run"


def card_of(run: Path) -> tuple[Card, Path]:
    (file,) = run.glob("artifacts/*/card.json")
    return Card.from_json(json.loads(file.read_text())), file.parent


def test_the_run_leaves_what_it_promises(finished: Path) -> None:
    for name in (
        "train/supernet.safetensors",
        "measure/table.parquet",
        "measure/check.json",
        "search/nsga2.jsonl",
        "search/nsga2-population=12.jsonl",
        "search/random.jsonl",
        "search/front.json",
        "compress/steps.jsonl",
        "report.html",
        "provenance.json",
        "run.json",
        "log.txt",
    ):
        assert (finished / name).stat().st_size > 0, name
    assert list(json.loads((finished / "stages.json").read_text())) == [
        "measure",
        "train",
        "search",
        "compress",
        "export",
        "report",
    ]
    assert not list(finished.rglob("*.part"))
    unaudited = "warning: how well this supernet ranks networks was not audited; quarry audit --out run"
    assert unaudited in (finished / "log.txt").read_text()


def test_the_card_tells_the_truth_about_the_file(finished: Path) -> None:
    card, folder = card_of(finished)
    data = load_data(load_recipe("digits").data, seed=0)
    mean, std = (np.array(getattr(card.preprocessing, key), dtype=np.float32) for key in ("mean", "std"))
    images = (data.test.images.numpy() / np.float32(255) - mean[:, None, None]) / std[:, None, None]
    session = onnxruntime.InferenceSession(folder / card.file)
    guesses = session.run(None, {card.input.name: images.astype(np.float32)})[0].argmax(axis=1)
    assert (guesses == data.test.labels.numpy()).mean() == pytest.approx(card.accuracy.exported_test)
    assert card.accuracy.test_images == len(data.test)
    assert card.size_bytes == (folder / card.file).stat().st_size
    assert card.limit.met == (card.latency.measured_ms <= card.limit.latency_ms)
    assert card.reference.speedup == pytest.approx(card.reference.latency_ms / card.latency.measured_ms)
    assert card.provenance.recipe["name"] == "digits"


def test_what_was_handed_over_is_verified_loaded_and_predicts(finished: Path, tmp_path: Path) -> None:
    card, _ = card_of(finished)
    done = quarry("verify", "run", folder=finished.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{card.accuracy.exported_test:.2%} right on 359 test images" in done.stdout
    image = load_data(load_recipe("digits").data, seed=0).test.images[0, 0].numpy()
    Image.fromarray(image).save(tmp_path / "digit.png")
    loaded = results.load(finished)
    best = loaded.labels[int(loaded.network(loaded.transform(tmp_path / "digit.png")[None]).argmax())]
    done = quarry("predict", "run", str(tmp_path), "--top", "1", folder=finished.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{tmp_path / 'digit.png'}: {best} ")


def test_the_last_words_name_accuracy_latency_size_and_files(finished: Path) -> None:
    card, folder = card_of(finished)
    said = (finished.parent / "said.txt").read_text()
    for words in (
        card.name,
        f"{card.accuracy.exported_test:.2%}",
        f"{card.latency.measured_ms:.3f}",
        f"{card.latency.predicted_ms:.3f}",
        f"run/artifacts/{folder.name}/{card.file}",
        "run/report.html",
    ):
        assert words in said, words


def test_every_network_that_was_scored_was_predicted_under_the_limit(finished: Path) -> None:
    front = json.loads((finished / "search" / "front.json").read_text())
    trials = [line for line in read_lines(finished / "search" / "nsga2.jsonl") if "costs" in line]
    others = [line["arch"] for line in read_lines(finished / "search" / "nsga2-population=12.jsonl")]
    assert len(trials) == len(others) == 24
    assert [trial["arch"] for trial in trials][:12] == others[:12], "one seed draws the first archs alike"
    assert [trial["arch"] for trial in trials] != others, "then the smaller population breeds"
    assert all(trial["costs"]["latency_ms_upper"] <= front["limit_ms"] * (1 + 1e-9) for trial in trials)


def test_a_finished_run_is_not_repeated(finished: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in finished.rglob("*.*") if file.name != "log.txt"}
    again = quarry(*ARGUMENTS, folder=finished.parent)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("done before") == 6
    assert all(file.stat().st_mtime_ns == time for file, time in before.items())


def test_a_model_that_was_deleted_is_made_again(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    _, place = card_of(tmp_path / "run")
    content = (place / "model.onnx").read_bytes()
    (place / "model.onnx").unlink()
    again = quarry(*ARGUMENTS, folder=tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("done before") == 4, "all but the export and the report"
    assert (place / "model.onnx").read_bytes() == content
    assert card_of(tmp_path / "run")[0].sha256 == hashlib.sha256(content).hexdigest()


def test_a_run_killed_in_every_stage_ends_as_if_it_had_not_been(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    kill_when(lambda: any((run / "measure").glob("*")), *ARGUMENTS, folder=tmp_path)
    assert not (run / "measure" / "check.json").exists()
    kill_when((run / "train" / "checkpoint.safetensors").exists, *ARGUMENTS, folder=tmp_path)
    assert not (run / "train" / "supernet.safetensors").exists()
    log = run / "search" / "nsga2.jsonl"
    kill_when(lambda: log.exists() and len(log.read_bytes().splitlines()) > 4, *ARGUMENTS, folder=tmp_path)
    assert "search" not in json.loads((run / "stages.json").read_text())
    done = quarry(*ARGUMENTS, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("done before") == 2  # measure and train

    whole = load_file(finished / "train" / "supernet.safetensors")
    killed = load_file(run / "train" / "supernet.safetensors")
    assert all(np.array_equal(whole[name], killed[name]) for name in whole)
    trials = [line for line in read_lines(log) if "arch" in line]
    archs = {json.dumps(trial["arch"], sort_keys=True) for trial in trials}
    assert len(archs) == len(trials) == 24  # none lost, none twice
    assert not list(run.rglob("*.part"))
    assert card_of(run)[0].accuracy.test_images == card_of(finished)[0].accuracy.test_images


def test_a_stage_done_again_with_another_limit_keeps_what_comes_before(finished: Path) -> None:
    supernet = (finished / "train" / "supernet.safetensors").stat().st_mtime_ns
    done = quarry(
        "search",
        "--out",
        "run",
        *settings("search.latency_ms=0.9", "search.budget=26"),
        folder=finished.parent,
    )
    assert done.returncode == 0, done.stderr
    assert (finished / "train" / "supernet.safetensors").stat().st_mtime_ns == supernet
    assert set(json.loads((finished / "stages.json").read_text())) == {"train", "measure", "search"}
    assert (finished / "earlier" / "1" / "artifacts").is_dir()
    missing = quarry("export", "--out", "run", folder=finished.parent)
    assert missing.returncode == 1
    assert "quarry compress --out run" in missing.stderr


def test_a_limit_that_nothing_meets_names_the_fastest_reachable(finished: Path) -> None:
    files = [finished / "stages.json", finished / "recipe.json", finished / "search" / "front.json"]
    before = [file.read_bytes() for file in files]
    done = quarry("search", "--out", "run", *settings("search.latency_ms=1e-6"), folder=finished.parent)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "latency_ms" in done.stderr
    assert "cheapest" in done.stderr or "fastest" in done.stderr
    assert [file.read_bytes() for file in files] == before, "what was found under the old limit is put aside"
