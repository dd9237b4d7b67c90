"""Whole runs on other runtimes than ONNX Runtime, among them one that a file outside the project brings."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from results.files import read_lines
from results.records import Card, StepRecord
from runners.data.load import load_data
from runners.reading.load import load_recipe
from tests.end_to_end.command import quarry, settings

PAGE = Path(__file__).parents[2] / "docs" / "devices.md"
TINY = (
    f"space.module={Path(__file__).with_name('tiny_space.py')}:tiny",
    "train.epochs=2",
    "measure.fit_networks=5",
    "measure.check_networks=3",
    "measure.seconds_each=0.02",
    "search.latency_ms=1000",  # met by all of them, on any machine
    "search.budget=24",
    'search.searchers=["nsga2"]',
    "search.calibration_images=64",
    "compress.networks=1",
    'compress.steps=["finetune", "quantize"]',
    "compress.recovery={epochs=1}",
    "compress.calibration_images=32",
)


def finished(folder: Path, profile: str) -> tuple[Path, Card, str]:
    """The folder of the one artifact of a whole run, its card, and what the run said."""
    done = quarry(
        "run",
        "digits",
        "--out",
        "run",
        *settings(*TINY, f"measure.profile={profile}"),
        folder=folder,
        timeout=900,  # PyTorch is loaded anew for whatever is measured
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "run" / "report.html").stat().st_size > 0
    (card,) = (folder / "run").glob("artifacts/*/card.json")
    return card.parent, Card.from_json(json.loads(card.read_text())), done.stdout


def accuracy_of(file: Path, card: Card) -> float:
    """Of a program on the test images, prepared as the card says."""
    data = load_data(load_recipe("digits").data, seed=0)
    prepared = card.preprocessing.to_json()
    mean, std = (torch.tensor(prepared[key])[:, None, None] for key in ("mean", "std"))
    with torch.no_grad():
        scores = torch.export.load(file).module()((data.test.images / 255 - mean) / std)
    return float((scores.argmax(dim=1) == data.test.labels).float().mean())


def test_a_run_on_pytorch_ends_with_a_program_that_does_what_its_card_says(tmp_path: Path) -> None:
    folder, card, _ = finished(tmp_path, "cpu-torch")
    assert card.file == "model.pt2"
    assert card.precision == "fp32"
    assert card.latency.how == "measured"
    assert card.latency.runtime.startswith("torch-cpu ")
    assert accuracy_of(folder / card.file, card) == pytest.approx(card.accuracy.exported_test)
    assert "torch.export.load" in (folder / "README.md").read_text()
    steps = [StepRecord.from_json(line) for line in read_lines(tmp_path / "run" / "compress" / "steps.jsonl")]
    quantize = next(step for step in steps if step.step == "quantize")
    assert not quantize.kept
    assert "quantize needs int8 and onnx" in quantize.reason


def test_a_run_on_openvino_ends_with_files_that_were_verified_and_timed_in_it(tmp_path: Path) -> None:
    folder, card, said = finished(tmp_path, "cpu-openvino")
    assert card.latency.runtime.startswith("openvino ")
    assert card.agreement.same_predictions == 1.0
    assert card.agreement.max_difference < 1e-3
    assert "compile_model" in (folder / "README.md").read_text()
    for form in ("fp32", "int8"):  # predicted against measured, as for any runtime
        assert f"{form}: 3 unseen networks: " in said


def test_a_run_on_ncnn_ends_with_a_converted_file_that_was_verified(tmp_path: Path) -> None:
    folder, card, said = finished(tmp_path, "cpu-ncnn")
    assert card.file == "model.zip"
    assert card.latency.runtime.startswith("ncnn ")
    assert card.agreement.same_predictions == 1.0
    assert "ncnn.Net()" in (folder / "README.md").read_text()
    assert "fp32: 3 unseen networks: " in said


def test_a_runtime_of_one_file_and_a_profile_does_the_whole_job(tmp_path: Path) -> None:
    section = PAGE.read_text().partition("## A runtime of your own")[2].partition("\n## ")[0]
    ((code, profile),) = re.findall(r"```python\n(.*?)```\n\n```toml\n(.*?)```", section, flags=re.DOTALL)
    (tmp_path / "board.py").write_text(code)
    (tmp_path / "my-board.toml").write_text(profile)
    folder, card, said = finished(tmp_path, "my-board.toml")
    assert "computing latencies from the constants of my-board (25 ns a weight)" in said
    assert card.latency.how == "computed"
    program = torch.export.load(folder / card.file)
    weights = sum(tensor.numel() for tensor in program.state_dict.values())
    assert card.latency.measured_ms == pytest.approx(weights * 25e-6)
    assert accuracy_of(folder / card.file, card) == pytest.approx(card.accuracy.exported_test)
    wrong = profile.replace("ns_per_weight = 25", "ns_per_wait = 25")
    (tmp_path / "my-board.toml").write_text(wrong)
    refused = quarry(
        "train", "digits", "--out", "b", *settings("measure.profile=my-board.toml"), folder=tmp_path
    )
    assert refused.returncode == 1
    assert "Did you mean 'ns_per_weight'" in refused.stderr
    assert not (tmp_path / "b").exists()
