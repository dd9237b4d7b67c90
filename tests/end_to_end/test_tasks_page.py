"""docs/tasks.md: its recipes are run from data to report, on a smaller space, and its task is one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import quarry
import results
from results.records import Card, read_record
from runners.artifacts.predict import predict
from runners.reading.load import load_recipe
from runners.run.verifying import verify

PAGE = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text()
PIXELS, DIGITS = load_digits(return_X_y=True)
PIXELS = (PIXELS[:240].reshape(-1, 8, 8) * 255 / 16).round().astype(np.uint8)
DIGITS = DIGITS[:240]
SMALL = f'space = {{ module = "{Path(__file__).with_name("small_space.py")}:small" }}'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's files, and data that they are for."""
    place = tmp_path_factory.mktemp("tasks")
    for name, code in re.findall(r"```(?:toml|python)\n# (\S+)\n(.*?)```", PAGE, re.DOTALL):
        (place / name).write_text(code.replace('space = { preset = "digits" }', SMALL))
    (place / "pics").mkdir()
    for index, image in enumerate(PIXELS):
        Image.fromarray(image).save(place / "pics" / f"{index}.png")
    tags = {"even": DIGITS % 2 == 0, "large": DIGITS > 4}
    told = [";".join(name for name, has in tags.items() if has[index]) for index in range(240)]
    written(place / "labels.csv", told)
    written(place / "rare.csv", ["sick" if digit == 3 else "fine" for digit in DIGITS])
    deep = np.stack([PIXELS, 255 - PIXELS], -1).astype(np.uint16) * 16
    values = np.stack([DIGITS * 1000.0, -0.01 * DIGITS], 1)
    np.savez(place / "values.npz", images=deep, labels=values, classes=np.array(["grams", "slope"]))
    return place


def written(file: Path, labels: list[str]) -> None:
    lines = [f"pics/{index}.png,{label}" for index, label in enumerate(labels)]
    file.write_text("\n".join(["file,label", *lines]) + "\n")


def finished(folder: Path, name: str) -> tuple[Path, Card]:
    run = folder / "runs" / name
    quarry.run(str(folder / f"{name}.toml"), out=run)
    (card,) = (read_record(Card, file) for file in run.glob("artifacts/*/card.json"))
    verify(run, say=lambda _: None)
    return run, card


def own_program(run: Path, card: Card, *files: Path) -> list[str]:
    """What the folder's own predict.py prints."""
    program = run / "artifacts" / card.name / "predict.py"
    done = subprocess.run([sys.executable, str(program), *files], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_several_labels_from_a_csv_file(folder: Path) -> None:
    run, card = finished(folder, "labels")
    assert (card.metric, card.answer.kind, card.classes) == (
        "mean average precision",
        "labels",
        ("even", "large"),
    )
    assert card.accuracy.exported_test > 0.5
    assert card.precision == "int8"
    assert card.agreement.same_predictions > 0.9
    report = (run / "report.html").read_text()
    assert "has a mean average precision of" in report
    assert "Accuracy stands for the mean average precision" in report
    readme = (run / "artifacts" / card.name / "README.md").read_text()
    assert "tells 2 labels of an image: mean average precision" in readme
    assert "argmax" not in readme
    picture, said = folder / "pics" / "7.png", list[str]()
    predict(run, [picture], say=said.append)
    assert re.fullmatch(r"\S+: (even|large) [\d.]+%, (even|large) [\d.]+%", said[0])
    assert own_program(run, card, picture) == said


def test_numbers_of_arrays_with_two_channels_of_twelve_bits(folder: Path) -> None:
    run, card = finished(folder, "values")
    assert (card.metric, card.answer.kind, card.classes) == ("R squared", "values", ("grams", "slope"))
    assert card.answer.scale[0] == pytest.approx(2870, rel=0.1)
    loaded = results.load(run)
    pixels = np.stack([PIXELS[5], 255 - PIXELS[5]], -1).astype(np.uint16) * 16
    image = np.rint(pixels * 255 / 4095).astype(np.uint8)
    np.save(folder / "five.npy", image)
    outputs = loaded.network(loaded.transform(image)[None]).detach().numpy()[0]
    expected = card.answer.words(outputs, card.classes)
    said: list[str] = []
    predict(run, [folder / "five.npy"], say=said.append)
    numbers = [
        [float(one) for one in re.findall(r"(?:grams|slope) (\S+?)(?:,|$)", text)]
        for text in (said[0], expected)
    ]
    assert numbers[0] == pytest.approx(numbers[1], rel=0.2, abs=300)  # the file may be of 8 bits
    assert own_program(run, card, folder / "five.npy") == said


def test_a_task_of_ones_own_with_rare_classes_passes_the_first_look(folder: Path) -> None:
    changed = {"task": {"kind": str(folder / "my_task.py:Ordered"), "far": 2.0}, "train.mixup": 0.2}
    told: list[str] = []
    out = folder / "runs" / "ordered"
    quarry.run(
        folder / "rare.toml",
        out=out,
        settings=changed,
        last="measure",
        progress=lambda one: told.append(one.text),
    )
    look = next(text for text in told if text.startswith("a first look"))
    assert "it trains, and its file is the network" in look
    assert not any("comes to nothing" in text for text in told)


def test_a_split_without_any_label_is_told_before_the_run(folder: Path) -> None:
    """Its score was missed after the first epoch."""
    lines = [
        f"pics/{index}.png,{'' if index >= 200 else 'even' if DIGITS[index] % 2 == 0 else 'odd'},"
        f"{'val' if index >= 200 else 'train'}"
        for index in range(240)
    ]
    (folder / "unlabelled.csv").write_text("\n".join(["file,tags,split", *lines]) + "\n")
    words = "the validation images of .*unlabelled.csv have no score: no image has any label"
    with pytest.raises(ValueError, match=words):
        quarry.run(
            folder / "labels.toml",
            out=folder / "runs" / "unlabelled",
            settings={"data.source": str(folder / "unlabelled.csv")},
            last="measure",
        )


def test_a_task_that_lacks_something_is_told_before_the_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    binary = load_recipe(str(folder / "rare.toml"))
    assert (binary.task.kind, binary.data.balance) == ("binary", 0.5)
    (folder / "lacking.py").write_text(
        "class Half:\n    def loss(self, outputs, targets):\n        return 0\n"
    )
    (folder / "raising.py").write_text("def task():\n    return {}['kind']\n")
    for task, words in (
        ("raising.py:task", "raising.py:task fails: KeyError: 'kind'"),
        ("lacking.py:Half", "lacking.py:Half has no metric, answer"),
        ("my_task.py:Orderd", "has no 'Orderd'. Did you mean 'Ordered'"),
        ('{ kind = "my_task.py:Ordered", far = -1.0 }', "task.far = -1.0: Input should be greater"),
        ("regresion", "unknown task 'regresion'.* Did you mean 'regression'.*Or a task of yours"),
    ):
        with pytest.raises(ValueError, match=words):
            load_recipe(str(folder / "rare.toml"), [f"task={task}"])
