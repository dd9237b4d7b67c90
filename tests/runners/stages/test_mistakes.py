"""What a file gets wrong is counted as by hand, and the report shows classes, confusions and pictures."""

from __future__ import annotations

import base64
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from results.files import write_json
from results.report import write_report
from runners.stages.mistakes import mistakes_of
from tests.results.report.finished_run import write_finished_run

CLASSES = ("ant", "bee", "<cat>")
LABELS = np.array([0, 0, 1, 1, 1, 2])
SAID = np.array([0, 1, 1, 2, 2, 2])
SURE = np.array([5.0, 3.0, 5.0, 4.0, 1.0, 5.0])
OUTPUTS = np.eye(3, dtype=np.float32)[SAID] * SURE[:, None].astype(np.float32)
IMAGES = np.random.default_rng(0).integers(0, 255, (6, 3, 5, 4), dtype=np.uint8)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, which tests copy."""
    return write_finished_run(tmp_path_factory.mktemp("made") / "run")


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


def test_classes_pairs_and_pictures_are_those_counted_by_hand() -> None:
    found = mistakes_of(OUTPUTS, LABELS, IMAGES, CLASSES)
    assert found is not None
    assert (found.images, found.right) == ((2, 3, 1), (1, 1, 1))
    assert [(one.label, one.predicted, one.images) for one in found.confused] == [(1, 2, 2), (0, 1, 1)]
    assert [(one.label, one.predicted) for one in found.wrong] == [(1, 2), (0, 1), (1, 2)]
    assert found.wrong[0].confidence == pytest.approx(np.exp(4.0) / (np.exp(4.0) + 2), abs=1e-4)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(found.wrong[0].png))))
    assert (picture == IMAGES[3].transpose(1, 2, 0)).all()


def test_large_pictures_are_kept_small_and_many_classes_need_no_table_of_all_pairs() -> None:
    names = [str(i) for i in range(50_000)]  # all pairs of them would be 20 GB
    outputs = np.zeros((2, len(names)), dtype=np.float32)
    outputs[:, 7] = 1
    images = np.zeros((2, 3, 300, 600), dtype=np.uint8)
    found = mistakes_of(outputs, np.array([49_999, 7]), images, names)
    assert found is not None
    assert (sum(found.images), found.right[7]) == (2, 1)
    assert [(one.label, one.predicted) for one in found.confused] == [(49_999, 7)]
    assert Image.open(io.BytesIO(base64.b64decode(found.wrong[0].png))).size == (192, 96)


def test_a_perfect_file_and_pictures_that_are_none() -> None:
    perfect = mistakes_of(np.eye(3)[LABELS], LABELS, IMAGES, CLASSES)
    assert perfect is not None
    assert (perfect.confused, perfect.wrong) == ((), ())
    signals = mistakes_of(OUTPUTS, LABELS, IMAGES[:, :1, :1], CLASSES)
    assert signals is not None
    assert len(signals.confused) == 2
    assert signals.wrong == ()


@pytest.mark.parametrize(
    ("outputs", "labels"),
    [
        (OUTPUTS[:, :1], LABELS),
        (OUTPUTS, OUTPUTS > 1),
        (OUTPUTS, LABELS.astype(float)),
        (OUTPUTS[..., None], LABELS),
    ],
)
def test_what_says_no_class_of_each_image_has_none(outputs: np.ndarray, labels: np.ndarray) -> None:
    assert mistakes_of(outputs, labels, IMAGES, CLASSES) is None


@pytest.mark.parametrize("classes", [3, 40])
def test_the_report_shows_them(run: Path, classes: int) -> None:
    names = (*CLASSES, *(f"class{i}" for i in range(3, classes)))
    outputs = np.pad(OUTPUTS, ((0, 0), (0, classes - 3)))
    found = mistakes_of(outputs, LABELS, IMAGES, names)
    assert found is not None
    write_json(run / "artifacts" / "n5-mistakes.json", found.to_json())
    page = write_report(run).read_text()
    assert "&lt;cat&gt; (2)" in page
    assert page.count("data:image/png;base64,") == 3
    assert ("class \\ said" in page) == (classes == 3)
    assert "cannot be shown" not in page


def test_of_another_file_than_the_chosen_one_the_report_shows_none(run: Path) -> None:
    found = mistakes_of(OUTPUTS, LABELS, IMAGES, CLASSES)
    assert found is not None
    write_json(run / "artifacts" / "n3-mistakes.json", found.to_json())
    assert "was not written down" in write_report(run).read_text()
