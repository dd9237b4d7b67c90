"""What a user gets for a mistake: one message that names the thing, a non-zero exit, nothing left behind."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.end_to_end.command import SMALL, Call, quarry, settings


def make_folder(root: Path, classes: int = 3, images: int = 6) -> Path:
    rng = np.random.default_rng(0)
    for index in range(classes):
        place = root / "train" / f"class{index}"
        place.mkdir(parents=True)
        for number in range(images):
            Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8)).save(place / f"{number}.png")
    return root


def no_images(root: Path) -> Path:
    make_folder(root)
    for file in (root / "train" / "class1").iterdir():
        file.unlink()
    return root


def broken_image(root: Path) -> Path:
    make_folder(root)
    (root / "train" / "class1" / "3.png").write_bytes(b"not an image")
    return root


def empty(root: Path) -> Path:
    root.mkdir()
    return root


def nan_image(root: Path) -> Path:
    make_folder(root)
    Image.fromarray(np.full((8, 8), np.nan, dtype=np.float32)).save(root / "train" / "class1" / "3.tiff")
    return root


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: root, ["does not exist"]),
        (empty, ["empty folder"]),
        (no_images, ["class 'class1' has no image"]),
        (broken_image, ["train/class1/3.png"]),
        (nan_image, ["train/class1/3.tiff", "NaN"]),
        (lambda root: make_folder(root, classes=1), ["at least two"]),
        (lambda root: make_folder(root, images=1), ["too few", "'class0'"]),
    ],
    ids=["missing", "empty", "class-without-image", "unreadable", "nan", "one-class", "too-few"],
)
def test_bad_data(call: Call, tmp_path: Path, make: Callable[[Path], Path], words: list[str]) -> None:
    said = call("run", "digits", "--out", "run", *settings(f"data.source={make(tmp_path / 'data')}"))
    assert said.code == 1
    assert "Traceback" not in said.error
    for word in words:
        assert word in said.error
    assert not (tmp_path / "run" / "train").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "digit"], ["unknown recipe 'digit'", "Did you mean 'digits'"]),
        (["run", "nowhere.toml"], ["no recipe at nowhere.toml"]),
        (["run", "digits", "--set", "train.epoch=3"], ["train.epoch", "Did you mean 'epochs'"]),
        (["run", "digits", "--set", "train.epochs=many"], ["train.epochs", "many"]),
        (["run", "digits", "--set", "search.confidence=2", "--set", "x=1"], ["search.confidence", "unknown"]),
        (["run", "digits", "--set", 'space.mixers=["atention"]'], ["atention", "attention"]),
        (["run", "digits", "--set", "measure.profile=cpu-otr"], ["cpu-otr", "cpu-ort"]),
        (["run", "digits", "--set", 'search.searchers=["nsga"]'], ["nsga", "nsga2"]),
        (["run", "digits", "--set", "search.budget=5"], ["search.budget = 5", "nsga2", "at least 24"]),
        (["run", "digits", "--workers", "0"], ["search.workers = 0"]),
        (["run", "digits", "--ray-address", "127.0.0.1:1"], ["no Ray cluster answers at 127.0.0.1:1"]),
        (["run", "digits", "--ray-address", "ray://head"], ["'ray://head' is not host:port"]),
        (["run", "digits", "--set", "train.device=cuda:9"], ["train.device", "cuda:9"]),
        (["search", "--out", "nothing-here"], ["no run in nothing-here", "quarry run RECIPE"]),
        (["serch"], ["serch", "search"]),
        (["run"], ["RECIPE"]),
    ],
)
def test_bad_arguments(call: Call, tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    said = call(*arguments)
    assert said.code in (1, 2)
    assert "Traceback" not in said.error
    for word in words:
        assert word in said.error
    assert not list(tmp_path.rglob("train"))


ONE = """
from torch import nn
from search_spaces.choice import Choice
from search_spaces.space import SearchSpace

def make(classes, input_shape):
    build = lambda arch: nn.Sequential(nn.Flatten(), nn.Linear(64, classes))
    return SearchSpace("few", [Choice("width", VALUES)], build, input_shape=input_shape)
"""


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ("(8,)", "holds one network: there is nothing to search"),
        ("(8, 16)", "holds 2 networks, and measure.fit"),
    ],
)
def test_a_space_too_small_is_told_before_it_is_trained(
    call: Call, tmp_path: Path, values: str, words: str
) -> None:
    (tmp_path / "few.py").write_text(ONE.replace("VALUES", values))
    said = call("run", "digits", "--out", "run", *settings("space.module=few.py:make"))
    assert said.code == 1
    assert words in said.error
    assert not (tmp_path / "run" / "train").exists()


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("boom.py", ["'boom.py'", "path/to/file.py:name"]),
        ("bomo.py:make", ["there is no file", "bomo.py"]),
        ("boom.py:make", ["boom.py:make fails", "KeyError: 'width'"]),
    ],
)
def test_a_module_that_gives_no_space_is_named(
    call: Call, tmp_path: Path, module: str, words: list[str]
) -> None:
    (tmp_path / "boom.py").write_text("def make(classes, input_shape):\n    return {}['width']\n")
    said = call("run", "digits", "--out", "run", *settings(f"space.module={module}"))
    assert said.code == 1
    assert "bug" not in said.error
    for word in words:
        assert word in said.error


def test_a_limit_on_energy_without_a_known_power_is_refused_at_once(call: Call, tmp_path: Path) -> None:
    constants = "macs_per_s = 1e9, bytes_per_s = 1e9"
    (tmp_path / "device.toml").write_text(
        f'name = "device"\nlimits = {{ energy_mj = 3 }}\nruntime = {{ kind = "analytic", {constants} }}\n'
    )
    said = call("run", "digits", "--out", "run", *settings("measure.profile=device.toml"))
    assert said.code == 1
    assert "energy_mj = 3" in said.error
    assert "watts" in said.error
    assert not (tmp_path / "run" / "measure").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_command_says_how_to_go_on(
    call: Call, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    monkeypatch.setattr("runners.run.sequence.start", lambda *_, **__: signal.raise_signal(number))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # shells let background jobs ignore it
    try:
        said = call("run", "digits", "--seed", "3")
    finally:
        signal.signal(signal.SIGINT, before)
    assert said.code == code
    assert "stopped; go on with: quarry run digits --seed 3" in said.error


def test_debug_shows_the_traceback(call: Call) -> None:
    assert "Traceback" in call("run", "digit", "--debug").error


def test_another_recipe_and_a_damaged_supernet(call: Call, tmp_path: Path) -> None:
    tiny = settings(*SMALL, "train.epochs=1")
    assert call("train", "digits", "--out", "run", *tiny).code == 0
    other = call("train", "digits", "--out", "run", *tiny, "--seed", "7")
    assert other.code == 1
    assert "another recipe" in other.error
    assert "seed" in other.error
    supernet = tmp_path / "run" / "train" / "supernet.safetensors"
    supernet.write_bytes(supernet.read_bytes()[:-64])
    assert call("measure", "--out", "run").code == 0  # it needs no weights
    damaged = call("search", "--out", "run")
    assert damaged.code == 1
    assert "supernet.safetensors is damaged" in damaged.error
    assert "Traceback" not in damaged.error


def test_a_full_disk_is_said_and_nothing_is_left_half_written(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["train", "digits", "--out", "run", *settings(*SMALL, "train.epochs=1")]
    sync = os.fsync

    def full(handle: int) -> None:
        if os.fstat(handle).st_size > 100_000:  # room for the small files, none for weights
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(handle)

    monkeypatch.setattr(os, "fsync", full)
    said = call(*arguments)
    assert said.code == 1
    assert "no space left on the disk" in said.error
    assert not list(tmp_path.rglob("*.safetensors"))
    assert not list(tmp_path.rglob("*.part"))
    monkeypatch.setattr(os, "fsync", sync)
    assert call(*arguments).code == 0


def test_a_mistyped_key_is_told_without_loading_pytorch(tmp_path: Path) -> None:
    done = quarry(
        "run",
        "digits",
        *settings("search.budgte=30"),
        folder=tmp_path,
        env={"PYTHONPROFILEIMPORTTIME": "1"},
    )
    assert done.returncode == 1
    assert "Did you mean 'budget'" in done.stderr
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines() if "|" in line}
    assert not imported & {"torch", "ray", "pandas", "onnxruntime", "optuna"}


def test_help_is_instant_and_light(tmp_path: Path) -> None:
    done = quarry("--help", folder=tmp_path, env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert done.returncode == 0
    assert "quarry run digits" in done.stdout
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines() if "|" in line}
    assert not imported & {"torch", "ray", "pandas", "numpy", "onnxruntime", "optuna"}
    for command in ("run", "train", "measure", "search", "compress", "export", "report", "doctor"):
        assert command in done.stdout
