"""The two jobs that are disturbed, and what each came to."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load_file
from sklearn.datasets import load_digits

from results.files import read_lines, write_atomic

RECIPE = """
name = "job"
[data]
source = "{images}"
height = 8
width = 8
channels = 1
val_fraction = 0.2
test_fraction = 0.2
crop_padding = 1
[space]
module = "{space}:make"
[train]
epochs = 3
batch_size = 64
learning_rate = 3e-3
[measure]
profile = "{device}"
fit_networks = 5
check_networks = 3
[search]
speedup = 1.2
budget = 8
searchers = [{{ kind = "nsga2", population = 4 }}, "optuna_tpe"]
workers = 1
calibration_images = 64
[compress]
networks = 1
recovery = {{ epochs = 3 }}
steps = ["finetune", "store"]
tolerance = 0.5
calibration_images = 32
"""
DEVICE = """
name = "computed"
precisions = ["fp32", "int8"]
[runtime]
kind = "analytic"
macs_per_s = 240e6
bytes_per_s = 40e6
layer_overhead_ms = 0.001
"""
SPACE = """
from search_spaces.spaces.metaformer import Stage, metaformer


def make(*, classes, input_shape):
    stages = [
        Stage(widths=(width,), depths=(1, 2), mixers=("identity", "pooling"), ratios=(1, 2))
        for width in (16, 32)
    ]
    return metaformer("space", stages, classes=classes, input_shape=input_shape)
"""
NETWORK = """
import torch
from torch import nn


def make():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(),
        nn.Conv2d(24, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    )
"""
_IMAGES = 40  # of a class
_TIMES = {
    "seconds",
    "images_per_second",
    "date",
    "began",
    "cpu_seconds",
    "gpu_seconds",
    "joules",
    "worker",
    "session",
    "provenance",
}
"""Fields that differ from one run to the next."""
_ABOUT = {"log.txt", "run.json", "stages.json", "forecast.json", "provenance.json", "report.html", ".lock"}
"""Files about a job, which tell when and how often it was worked on."""
_DATED = {"README.md", "bom.cdx.json", "checksums.sha256"}
"""Files of an artifact that hold the date, or the sums of those that do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job that can be begun in any folder.

    Attributes:
        name: name in the table.
        images: folder of its images.
        arguments: words after ``quarry``; its own folder is ``run``.
        after: commands that look at what it left.
        half_way: moments at which its files are damaged.
    """

    name: str
    images: Path
    arguments: Sequence[str]
    after: Sequence[Sequence[str]]
    half_way: Sequence[str]

    def begin(self, folder: Path) -> None:
        """Writes what the job is given."""
        folder.mkdir(parents=True, exist_ok=True)
        # One place for all: a recipe with another is another.
        space, device = self.images.with_name("space.py"), self.images.with_name("device.toml")
        for file, content in ((space, SPACE), (device, DEVICE)):
            if not file.exists():
                write_atomic(file, content)
        recipe = RECIPE.format(images=self.images, space=space, device=device)
        (folder / "job.toml").write_text(recipe)
        (folder / "net.py").write_text(NETWORK)

    def copy(self, source: Path, folder: Path) -> None:
        """The same job, as far as it is in another folder; times of files are kept."""
        shutil.rmtree(folder, ignore_errors=True)
        self.begin(folder)
        shutil.copytree(source / "run", folder / "run")


def jobs(images: Path) -> tuple[Job, ...]:
    """The job of each kind, on a folder of images, whose decoded form is kept beside what they make."""
    compress = (
        "compress-model net.py:make --profile DEVICE --speedup 5 --epochs 4 --networks 1 --out run --data"
    )
    return (
        Job(
            name="quarry run",
            images=images,
            arguments=("run", "job.toml", "--out", "run"),
            after=(("verify", "run"), ("report", "--out", "run")),
            half_way=("in training", "in the search", "in compression"),
        ),
        Job(
            name="quarry compress-model",
            images=images,
            arguments=(
                *compress.replace("DEVICE", str(images.with_name("device.toml"))).split(),
                str(images),
            ),
            after=(("verify", "run"),),
            half_way=("in compression",),
        ),
    )


def write_images(folder: Path) -> Path:
    """Some of the digits as picture files by class."""
    if folder.exists():
        return folder
    digits = load_digits()
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    for label in range(10):
        place = part / "train" / str(label)
        place.mkdir(parents=True)
        for number, image in enumerate(digits.images[digits.target == label][:_IMAGES]):
            Image.fromarray((image * (255 / 16)).astype(np.uint8)).save(place / f"{number}.png")
    part.rename(folder)
    return folder


def results_of(run: Path) -> dict[str, Any]:
    """What a job came to: its files by name, without what differs from one time to the next."""
    found = {}
    for file in sorted(run.rglob("*")):
        name = str(file.relative_to(run))
        if file.is_file() and file.name not in _ABOUT | _DATED and not name.startswith("earlier/"):
            found[name] = _content(file)
    return found


def _content(file: Path) -> Any:
    if file.suffix == ".journal":
        return "a log with times"
    try:
        if file.suffix == ".json":
            return _timeless(json.loads(file.read_text()))
        if file.suffix == ".jsonl":
            return [_timeless(line) for line in read_lines(file)]  # without one that was cut short
        if file.suffix == ".safetensors":  # their description has its entries in any order
            return {name: _sum(tensor.tobytes()) for name, tensor in load_file(file).items()}
    except (ValueError, SafetensorError):
        return "damaged"
    if file.suffix == ".parquet":
        return "a table with its date"
    return _sum(file.read_bytes())


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(one) for key, one in value.items() if key not in _TIMES}
    return [_timeless(one) for one in value] if isinstance(value, list) else value
