"""Judging one network by training it alone: a worker's task."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from nas.supernet.calibration import recalibrate
from results.files import read_json, write_json
from runners.pools.known import key_of
from runners.scoring.score import score
from runners.scoring.subnets import readonly
from runners.tasks import CLASSIFICATION, Task
from runners.training.batches import Prepare, TrainingData
from runners.training.mixing import Mix
from runners.training.settings import TrainSettings
from runners.training.standalone import train_alone
from runners.training.threads import computing_with
from runners.training.watch import EpochSummary, Watch
from search_spaces.space import Arch, SearchSpace

_TELL_SECONDS = 2.0  # between two lines about a training under way


@dataclass(frozen=True, slots=True, kw_only=True)
class AlonePlan:
    """How networks are trained alone, all but the images: it is sent to the workers.

    Attributes:
        space: Space of the networks.
        settings: Settings of the training loop.
        epochs: Epochs of single networks, by the key of their arch; others get those of the settings.
        prepare: Makes stored images into network input.
        mix: Mixes the images of a batch; None leaves them.
        task: What networks are trained for and judged by.
        balance: How evenly classes are drawn; see ``TrainingData``.
        seed: Seed of first values, data order and augmentation.
        folder: Folder of trained weights, of trainings under way, and of how far they are.
        threads: Threads of PyTorch; 0 leaves them as they are.
    """

    space: SearchSpace
    settings: TrainSettings
    prepare: Prepare
    mix: Mix | None
    task: Task = CLASSIFICATION
    balance: float = 0.0
    seed: int
    folder: Path
    threads: int = 0
    epochs: Mapping[str, int] = field(default_factory=dict)

    def settings_of(self, arch: Arch) -> TrainSettings:
        """Settings of a network's training."""
        return replace(self.settings, epochs=self.epochs.get(key_of(arch), self.settings.epochs))

    def name(self, arch: Arch) -> str:
        """Begins the names of a network's files."""
        return self.space.only(arch).fingerprint

    def weights(self, arch: Arch) -> Path:
        """The file of a network's trained weights."""
        return self.folder / f"{self.name(arch)}.safetensors"

    def checkpoint(self, arch: Arch) -> Path:
        """The file that the training of a network goes on from."""
        return self.folder / "under_way" / f"{self.name(arch)}-{self.settings_of(arch).epochs}.safetensors"

    def progress(self, arch: Arch) -> Path:
        """The file that says how far a training is."""
        return self.folder / "under_way" / f"{self.name(arch)}.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class AloneTrainer:
    """Accuracy of a network after a training of its own.

    Attributes:
        plan: How networks are trained.
        images: Training images as stored, (N, C, H, W).
        labels: Their labels, (N, ...).
        calibration: Prepared training images for the BatchNorm statistics, (K, C, H, W).
        val_images: Prepared validation images, (M, C, H, W).
        val_labels: Their labels, (M, ...).
    """

    plan: AlonePlan
    images: Tensor
    labels: Tensor
    calibration: Tensor
    val_images: Tensor
    val_labels: Tensor

    def __call__(self, arch: Arch) -> dict[str, float]:
        """The network's ``accuracy`` on the validation images, and ``train_loss``, that of the last epoch.

        Its weights are left in the plan's folder. ``earlier_s`` are seconds of the training in processes that
        were killed.
        """
        with computing_with(self.plan.threads):
            return self._trained(arch)

    def _trained(self, arch: Arch) -> dict[str, float]:
        plan = self.plan
        data = TrainingData(
            images=self.images,
            labels=self.labels,
            prepare=plan.prepare,
            mix=plan.mix,
            task=plan.task,
            balance=plan.balance,
        )
        checkpoint = plan.checkpoint(arch)
        if not checkpoint.exists():  # begun anew
            plan.progress(arch).unlink(missing_ok=True)
        teller = _Teller(plan.progress(arch))
        trained = train_alone(
            plan.space,
            arch,
            data,
            plan.settings_of(arch),
            seed=plan.seed,
            checkpoint=checkpoint,
            watch=Watch(step=teller, epoch=teller.epoch),
        )
        network = recalibrate(trained.subnet(arch), self.calibration)
        found = score(network, self.val_images, self.val_labels, plan.task)
        trained.save(plan.weights(arch))
        checkpoint.unlink(missing_ok=True)
        plan.progress(arch).unlink(missing_ok=True)
        return {"accuracy": found, "train_loss": teller.loss, "earlier_s": teller.earlier_s}

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Everything large, as ``worker_trainer`` takes it."""
        names = ("images", "labels", "calibration", "val_images", "val_labels")
        return {name: getattr(self, name).numpy() for name in names}


def worker_trainer(plan: AlonePlan, arrays: dict[str, NDArray[np.generic]]) -> AloneTrainer:
    """A trainer in a worker, over arrays that are shared and only read."""
    return AloneTrainer(plan=plan, **{name: readonly(array) for name, array in arrays.items()})


class _Teller:
    """Writes down how far a training is, every few seconds; seconds and loss go on where a kill cut it."""

    def __init__(self, file: Path) -> None:
        self._file, self._told, self._began = file, -_TELL_SECONDS, time.monotonic()
        earlier = read_json(file) if file.exists() else {}
        self.earlier_s = float(earlier.get("seconds", 0.0))
        self.loss = float(earlier.get("loss", math.nan))
        self._steps = {"done": 0, "total": 1}

    def __call__(self, done: int, total: int) -> None:
        self._steps = {"done": done, "total": total}
        if time.monotonic() - self._told >= _TELL_SECONDS:
            self._write()

    def epoch(self, summary: EpochSummary, _: object) -> None:
        """Keeps the loss of an epoch, before the checkpoint that counts it as done."""
        self.loss = summary.loss
        self._write()

    def _write(self) -> None:
        self._told = time.monotonic()
        told = {**self._steps, "seconds": round(self.earlier_s + self._told - self._began, 1)}
        write_json(self._file, told if math.isnan(self.loss) else {**told, "loss": self.loss})
