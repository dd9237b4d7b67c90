"""``quarry predict`` and ``quarry verify`` on what was handed over."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import results
from compress.onnx.file import OnnxFile
from results.timing import Timing
from runners.artifacts.predict import predict
from runners.artifacts.verify import check_files, check_network
from runners.data.prepared import RunData
from runners.run.verifying import verify
from tests.compress.targets import FACTS, around
from tests.runners.artifacts.test_files import a_picture


def test_a_picture_gets_the_classes_of_the_file(run: Path, tmp_path: Path) -> None:
    file, said = a_picture(tmp_path), []
    assert predict(run, [file], top=2, say=said.append) == 1
    scores = OnnxFile(run / "artifacts/some/model.onnx")(results.load(run).transform(file)[None].numpy())[0]
    shares = np.exp(scores.astype(np.float64)) / np.exp(scores.astype(np.float64)).sum()
    named = [f"{('cat', 'dog', 'owl')[i]} {shares[i]:.1%}" for i in np.argsort(-shares)[:2]]
    assert said == [f"{file}: {', '.join(named)}"]


def test_a_folder_is_gone_through_and_what_is_no_picture_told(run: Path, tmp_path: Path) -> None:
    folder, said = tmp_path / "photos", []
    (folder / "deeper").mkdir(parents=True)
    a_picture(folder)
    Image.new("L", (5, 9), 7).save(folder / "deeper" / "grey.bmp")
    (folder / "notes.txt").write_text("not looked at")
    (folder / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(
        ValueError, match=r"^\S*cut\.jpg (is no image of a known kind, or damaged|cannot be read.*)$"
    ):
        predict(run / "artifacts" / "some", [folder], say=said.append)
    assert [line.partition(": ")[0] for line in said] == [
        str(folder / "deeper" / "grey.bmp"),
        str(folder / "picture.png"),
    ]


@pytest.mark.parametrize(
    ("path", "words"), [("none.png", "there is no image"), ("empty", "there are no images in")]
)
def test_images_that_are_not_there_are_said(run: Path, tmp_path: Path, path: str, words: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=words):
        predict(run, [tmp_path / path])


class Device:
    """Runs files in ONNX Runtime; latencies are given."""

    facts = FACTS

    def run(self, file: Path, images: np.ndarray) -> np.ndarray:
        return OnnxFile(file)(images)

    def measure(self, files: list[Path], **_: float) -> list[Timing]:
        return [around(0.3) for _ in files]


def checked(folder: Path, data: RunData, exported_test: float) -> list[str]:
    said: list[str] = []
    card = results.load(folder).card
    accuracy = replace(card.accuracy, exported_test=exported_test)
    check_network(folder, replace(card, accuracy=accuracy), data, Device(), said.append)  # type: ignore[arg-type]
    return said


def test_accuracy_parity_and_latency_are_set_beside_the_card(run: Path, data: RunData) -> None:
    folder = run / "artifacts" / "some"
    images, labels = data.images(data.splits.test).numpy(), data.splits.test.labels.numpy()
    right = float((OnnxFile(folder / "model.onnx")(images).argmax(1) == labels).mean())
    parity, latency = checked(folder, data, right)
    assert parity.startswith(f"{right:.2%} right on 30 test images (card: {right:.2%}); 100.00% of the")
    assert "0.3 ms on " in latency
    assert "3.00 times that" in latency
    with pytest.raises(ValueError, match="other data, another runtime or another file"):
        checked(folder, data, right - 0.1)


def test_a_folder_without_its_run_has_its_files_checked(run: Path, tmp_path: Path) -> None:
    folder, said = tmp_path / "somewhere" / "some", []
    shutil.copytree(run / "artifacts" / "some", folder)
    verify(folder, say=said.append)
    assert said[1:] == [
        "10 files are what was written",
        "its run is not here, so nothing was run on test images and nothing was measured",
    ]
    (tmp_path / "recipe.json").write_text('{"model": "mine"}')
    verify(folder, say=said.append)
    assert said[-1].startswith("quarry compress-model made it")
    (folder / "checksums.sha256").unlink()
    with pytest.raises(ValueError, match=r"has no checksums\.sha256, so nothing says"):
        check_files(folder, said.append)
