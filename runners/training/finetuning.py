"""Training one plain network further, on labels and on the outputs of a teacher from outside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from nas.rules.moment import Moment, Pass
from runners.training.batches import TrainingData
from runners.training.checkpoint import course_of
from runners.training.loop import DivergedError, train
from runners.training.settings import TrainSettings
from runners.training.trainable import OneNetwork
from runners.training.watch import SILENT, Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Taught:
    """The training rule of a network with a teacher: one pass in each step.

    "Distilling the Knowledge in a Neural Network" (Hinton et al., 2015), section 2.

    Attributes:
        teacher: Network in eval mode, on the device of the student; None leaves the labels alone.
        teacher_weight: Share of the loss on the teacher's outputs, in [0, 1]; labels have the rest.
        temperature: Divisor of both outputs where the teacher's are compared with.
    """

    teacher: nn.Module | None
    teacher_weight: float = 0.7
    temperature: float = 2.0

    def __call__(self, moment: Moment) -> list[Pass]:
        """The network's one pass."""
        return [
            Pass(
                arch=moment.space.smallest(),  # the only one
                teacher=self.teacher,
                teacher_weight=self.teacher_weight,
                temperature=self.temperature,
            )
        ]


def digest(network: nn.Module, settings: TrainSettings, seed: int) -> str:
    """What tells a training that begins with these weights from others."""
    return course_of(OneNetwork(network), settings, seed)


def finetune(
    network: nn.Module,
    data: TrainingData,
    settings: TrainSettings,
    *,
    rule: Taught,
    seed: int,
    checkpoint: Path | None = None,
    watch: Watch = SILENT,
) -> nn.Module:
    """Trains a network in place, going on from the checkpoint if there is one, and returns it in eval mode.

    Args:
        network: plain module on the device to train on; ends there with its trained weights.
        data: what it is trained on, and for which task.
        settings: how it is trained.
        rule: who teaches it.
        seed: seed of data order and augmentation.
        checkpoint: file to go on from and to write; None keeps nothing.
        watch: who follows the training.

    Raises:
        DivergedError: a loss or the gradient is not finite.
        ValueError: the checkpoint is damaged or another training's; the network has no parameters; or the
            teacher is on another device or in training mode.
    """
    student = OneNetwork(network)
    if rule.teacher is not None:
        _check_teacher(rule.teacher, student.device)
    try:
        train(
            student,
            data,
            settings,
            rule=rule,
            seed=seed,
            checkpoint=checkpoint,
            watch=watch,
        )
    except DivergedError as error:
        raise DivergedError(f"fine-tuning: {error}") from error
    return network.eval()


def _check_teacher(teacher: nn.Module, device: torch.device) -> None:
    if any(part.training for part in teacher.modules()):
        raise ValueError(
            f"the teacher ({type(teacher).__name__}) is in training mode, in which it answers otherwise and "
            f"changes its statistics; call its eval() first"
        )
    elsewhere = {one.device for one in (*teacher.parameters(), *teacher.buffers())} - {device}
    if elsewhere:
        raise ValueError(
            f"the teacher ({type(teacher).__name__}) is on {elsewhere.pop()} and the network on {device}; "
            f"move it there first"
        )
