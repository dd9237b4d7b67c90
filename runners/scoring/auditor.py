"""Judging one network by what it inherits, by some more training, and by training alone: a worker's task."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from nas.supernet.calibration import recalibrate
from nas.supernet.weights import Entry
from runners.scoring.accuracy import accuracy
from runners.scoring.subnets import SubnetEvaluator, readonly, worker_evaluator
from runners.training.batches import Prepare
from runners.training.finetuning import FinetuneSettings, finetune
from runners.training.loop import TrainSettings
from runners.training.mixing import Mix
from runners.training.standalone import train_alone
from search_spaces.space import Arch, SearchSpace

Images = tuple[Tensor, Tensor]
"""Images (N, C, H, W) and their labels (N,), int64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPlan:
    """How the networks of an audit are trained.

    Attributes:
        alone: from scratch.
        further: from what they inherit, with the largest network as their teacher.
        prepare: makes stored images into network input.
        mix: mixes the images of a batch when a network is trained alone; None leaves them.
        seed: of first values, data order and augmentation.
        checkpoints: folder of the trainings under way.
    """

    alone: TrainSettings
    further: FinetuneSettings
    prepare: Prepare
    mix: Mix | None
    seed: int
    checkpoints: Path

    def checkpoint(self, space: SearchSpace, arch: Arch) -> Path:
        """Where the training of a network alone goes on from."""
        return self.checkpoints / f"{space.only(arch).fingerprint}.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Auditor:
    """Accuracies of a network with inherited, fine-tuned and its own weights.

    Attributes:
        plan: how it is trained.
        evaluator: of the supernet, on validation images.
        train: as stored.
        test: prepared.
    """

    plan: AuditPlan
    evaluator: SubnetEvaluator
    train: Images
    test: Images

    def __call__(self, arch: Arch) -> dict[str, float]:
        """The accuracies that ``results.records.AuditedNetwork`` has."""
        plan, supernet = self.plan, self.evaluator.supernet
        inherited_test = replace(self.evaluator, images=self.test[0], labels=self.test[1])
        alone = train_alone(
            supernet.space,
            arch,
            *self.train,
            plan.prepare,
            plan.alone,
            seed=plan.seed,
            checkpoint=plan.checkpoint(supernet.space, arch),
            mix=plan.mix,
        )
        return {
            "inherited_val": self.evaluator(arch)["accuracy"],
            "inherited_test": inherited_test(arch)["accuracy"],
            "finetuned_test": accuracy(self._finetuned(arch), *self.test),
            "alone_val": replace(self.evaluator, supernet=alone)(arch)["accuracy"],
            "alone_test": replace(inherited_test, supernet=alone)(arch)["accuracy"],
        }

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
        network = self._inherited(arch)
        if not self.plan.further.epochs:
            return network
        return finetune(
            network,
            self._inherited(self.evaluator.supernet.space.largest()),
            *self.train,
            self.plan.prepare,
            self.plan.further,
            seed=self.plan.seed,
            on_step=lambda done, total: None,
        )

    def _inherited(self, arch: Arch) -> nn.Module:
        return recalibrate(self.evaluator.supernet.extract(arch), self.evaluator.calibration)


def worker_auditor(
    space: SearchSpace, index: dict[str, Entry], plan: AuditPlan, arrays: dict[str, NDArray[np.generic]]
) -> Auditor:
    """An auditor in a worker, over arrays that are shared and only read.

    Args:
        space: of the supernet.
        index: of the supernet.
        plan: of the audit.
        arrays: of ``Auditor.arrays``.
    """
    own = {name: readonly(array) for name, array in arrays.items() if name.startswith(("train/", "test/"))}
    shared = {name: array for name, array in arrays.items() if name not in own}
    return Auditor(
        plan=plan,
        evaluator=worker_evaluator(space, index, shared),
        train=(own["train/images"], own["train/labels"]),
        test=(own["test/images"], own["test/labels"]),
    )
