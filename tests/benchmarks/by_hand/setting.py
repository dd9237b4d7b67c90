"""What both sides are given: data, target, limits, budget. It stays the same for all lines of a folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from compress.target import Target
from results.records import Record
from results.statistics import top1
from runners.data.load import load_data
from runners.data.splits import Prepare, Split, Splits
from runners.measuring.machine import cores as own_cores
from runners.reading.load import load_recipe
from runners.recipe.schema import Recipe
from runners.targets.profile import load_profile
from runners.targets.target import open_target
from runners.tasks import TASKS, Task

SECONDS_EACH = 0.5  # of measuring a file


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting(Record):
    """What does not change within a folder of results.

    Attributes:
        data: data source, as ``data.source`` takes it.
        recipe: recipe by name or path: its data section and its profile are both sides', the rest Quarry's.
        limits_ms: latency limits, ascending.
        minutes: budget for all limits together; times the cores, in processor minutes.
        cores: how many cores either side uses.
    """

    data: str
    recipe: str
    limits_ms: tuple[float, ...]
    minutes: float
    cores: int

    @property
    def budget_s(self) -> float:
        """Processor seconds for one limit: the whole is divided evenly."""
        return 60 * self.minutes * self.cores / len(self.limits_ms)


def chosen_cores(count: int) -> list[int]:
    """The first cores of those that this process may use.

    Raises:
        ValueError: there are not so many.
    """
    mine = own_cores()
    if not 1 <= count <= len(mine):
        raise ValueError(f"--cores {count}: this process may use {len(mine)} (cores {mine})")
    return mine[:count]


def threads(count: int) -> dict[str, str]:
    """Variables by which libraries use as many threads as there are cores."""
    return {name: str(count) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")} | {
        "PYTHONPATH": os.pathsep.join(filter(None, (os.getcwd(), os.environ.get("PYTHONPATH", ""))))
    }


class Bench:
    """The data and the target of a setting, made when first asked for.

    Args:
        setting: what both sides are given.
        seed: seed of the splits that the data do not bring.
        folder: folder of the results; decoded images are kept there.
    """

    def __init__(self, setting: Setting, seed: int, folder: Path) -> None:
        self.setting, self.seed, self.folder = setting, seed, folder

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe on these data."""
        return load_recipe(self.setting.recipe, [f"data.source={self.setting.data}"], self.seed)

    @cached_property
    def splits(self) -> Splits:
        """The images; decoded once for all seeds."""
        return load_data(self.recipe.data, self.seed, self.folder / "decoded.safetensors")

    @cached_property
    def prepare(self) -> Prepare:
        """Augmentation and normalisation, as Quarry has them."""
        data = self.recipe.data
        return Prepare(
            preprocessing=self.splits.preprocessing, crop_padding=data.crop_padding, flip=data.flip
        )

    @cached_property
    def task(self) -> Task:
        """What networks are trained for."""
        task = self.recipe.task
        return TASKS.configured(task.kind, task.settings)()

    @cached_property
    def target(self) -> Target:
        """What files are made for and timed on."""
        return open_target(load_profile(self.recipe.measure.profile))

    def accuracy(self, file: Path, split: Split) -> float:
        """Top-1 accuracy in [0, 1] of a file, run in the target's runtime."""
        images = self.prepare(split.images, None).numpy()
        return top1(self.target.run(file, images), split.labels.numpy())

    def latencies(self, files: Sequence[Path]) -> list[tuple[float, float, float]]:
        """Median and ends of its interval of each file in ms, side by side; NaN where one does not run."""
        timings = self.target.measure(files, budget_s=SECONDS_EACH * len(files))
        return [(timing.median_ms, timing.low_ms, timing.high_ms) for timing in timings]
