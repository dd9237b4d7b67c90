"""Judging one network by what it inherits, by some more training, and by training alone: a worker's task."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from nas.distillation import KD
from nas.supernet.calibration import recalibrate
from nas.supernet.weights import Entry
from runners.scoring.score import score
from runners.scoring.subnets import SubnetEvaluator, readonly, worker_evaluator
from runners.tasks import CLASSIFICATION, Task
from runners.training.batches import Prepare, TrainingData
from runners.training.finetuning import Taught, finetune
from runners.training.mixing import Mix
from runners.training.settings import TrainSettings
from runners.training.standalone import train_alone
from search_spaces.space import Arch, SearchSpace

Images = tuple[Tensor, Tensor]
"""Images (N, C, H, W) and their labels (N, ...)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPlan:
    """How the networks of an audit are trained.

    Attributes:
        alone: Settings of trainings from scratch.
        further: Settings of trainings from what is inherited, the largest network being the teacher.
        teacher_weight: Share of the loss on the teacher's outputs, in [0, 1].
        temperature: Divisor of both outputs where the teacher's are compared with.
        prepare: Makes stored images into network input.
        mix: Mixes the images of a batch; None leaves them.
        task: What networks are trained for and judged by.
        balance: How evenly classes are drawn; see ``TrainingData``.
        seed: Seed of first values, data order and augmentation.
        checkpoints: Folder of the trainings under way.
    """

    alone: TrainSettings
    further: TrainSettings
    teacher_weight: float
    temperature: float
    prepare: Prepare
    mix: Mix | None
    task: Task = CLASSIFICATION
    balance: float = 0.0
    seed: int
    checkpoints: Path

    @property
    def fingerprint(self) -> str:
        """What tells networks that were trained like this from others."""
        how = (
            self.alone,
            self.further,
            self.teacher_weight,
            self.temperature,
            self.mix,
            self.task,
            self.seed,
            *([self.balance] if self.balance else []),
            *([f"layers {decay}"] if (decay := self.further.layer_decay) < 1 else []),  # no part of its repr
        )
        told = repr(how).replace(repr(CLASSIFICATION), "Classification()")  # as before it had settings
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    def checkpoint(self, space: SearchSpace, arch: Arch) -> Path:
        """The file that the training of a network alone goes on from."""
        return self.checkpoints / f"{space.only(arch).fingerprint}.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Auditor:
    """Accuracies of a network with inherited, fine-tuned and its own weights.

    Attributes:
        plan: How networks are trained.
        evaluator: Scores subnets of the supernet on validation images.
        train: Training images as stored, with their labels.
        test: Test images, prepared, with their labels.
    """

    plan: AuditPlan
    evaluator: SubnetEvaluator
    train: Images
    test: Images

    def __call__(self, arch: Arch) -> dict[str, float]:
        """The accuracies that ``results.audit.AuditedNetwork`` has."""
        plan, space = self.plan, self.evaluator.supernet.space
        inherited_test = replace(self.evaluator, images=self.test[0], labels=self.test[1])
        alone = train_alone(
            space,
            arch,
            self._data(),
            plan.alone,
            seed=plan.seed,
            checkpoint=plan.checkpoint(space, arch),
        )
        return {
            "inherited_val": self.evaluator(arch)["accuracy"],
            "inherited_test": inherited_test(arch)["accuracy"],
            "finetuned_test": score(self._finetuned(arch), *self.test, plan.task),
            "alone_val": replace(self.evaluator, supernet=alone)(arch)["accuracy"],
            "alone_test": replace(inherited_test, supernet=alone)(arch)["accuracy"],
        }

    def _data(self) -> TrainingData:
        images, labels = self.train
        plan = self.plan
        return TrainingData(
            images=images,
            labels=labels,
            prepare=plan.prepare,
            mix=plan.mix,
            task=plan.task,
            balance=plan.balance,
        )

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Everything large, as ``worker_auditor`` takes it."""
        own = {
            "train/images": self.train[0],
            "train/labels": self.train[1],
            "test/images": self.test[0],
            "test/labels": self.test[1],
        }
        return self.evaluator.arrays() | {name: tensor.numpy() for name, tensor in own.items()}

    def _finetuned(self, arch: Arch) -> nn.Module:
        network, plan = self._inherited(arch), self.plan
        if not plan.further.epochs:
            return network
        taught = Taught(
            teachers=(self._inherited(self.evaluator.supernet.space.largest()),),
            methods=(partial(KD, temperature=plan.temperature),),
            teacher_weight=plan.teacher_weight,
        )
        return finetune(network, self._data(), plan.further, taught=taught, seed=plan.seed)

    def _inherited(self, arch: Arch) -> nn.Module:
        return recalibrate(self.evaluator.supernet.extract(arch), self.evaluator.calibration)


def worker_auditor(
    space: SearchSpace, index: dict[str, Entry], plan: AuditPlan, arrays: dict[str, NDArray[np.generic]]
) -> Auditor:
    """An auditor in a worker, over arrays that are shared and only read.

    Args:
        space: space of the supernet.
        index: index of the supernet.
        plan: plan of the audit.
        arrays: arrays from ``Auditor.arrays``.
    """
    own = {name: readonly(array) for name, array in arrays.items() if name.startswith(("train/", "test/"))}
    shared = {name: array for name, array in arrays.items() if name not in own}
    return Auditor(
        plan=plan,
        evaluator=worker_evaluator(space, index, shared, plan.task),
        train=(own["train/images"], own["train/labels"]),
        test=(own["test/images"], own["test/labels"]),
    )
